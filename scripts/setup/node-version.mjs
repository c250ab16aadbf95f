// Read by whatever Node is there: nothing in this file may be newer than 2015, and nothing is imported.

/** The oldest Node that runs onqueue: the first 20 that loads ES modules of every kind without a flag. */
const NEEDED = [20, 19];

/** What is wrong with the version and what to do, in one line; null when it will do. */
export function nodeVersionProblem(version) {
  const parts = version.replace(/^v/, '').split('.').map(Number);
  const isEnough = parts[0] > NEEDED[0] || (parts[0] === NEEDED[0] && parts[1] >= NEEDED[1]);
  if (isEnough) return null;
  return (
    'onqueue needs Node ' +
    NEEDED.join('.') +
    ' or newer; this is v' +
    parts.join('.') +
    ". Install it from https://nodejs.org or with 'nvm install 20'."
  );
}

/** Ends the process with that line when the Node that runs it is too old. */
export function requireNode() {
  const problem = nodeVersionProblem(process.version);
  if (problem === null) return;
  console.error(problem);
  process.exit(1);
}
