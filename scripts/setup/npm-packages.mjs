import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { repoRoot } from './repo-root.mjs';
import { runCommand } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

/**
 * Makes node_modules what package-lock.json says. A mark in it (the lock's SHA-256) makes the second look cheap.
 *
 * @param {{root?: string, env?: NodeJS.ProcessEnv, run?: typeof runCommand, say?: (line: string) => void}} [ports]
 */
export async function ensureNpmPackages({
  root = repoRoot,
  env = process.env,
  run = runCommand,
  say = console.log,
} = {}) {
  const lock = await readFile(join(root, 'package-lock.json'), 'utf8');
  const digest = createHash('sha256').update(lock).digest('hex');
  const mark = join(root, 'node_modules', '.onqueue-lock');
  if ((await read(mark))?.trim() === digest) return;
  const reason = await whyStale(root, lock);
  if (reason !== null) await install(reason, { root, env, run, say });
  // A read-only node_modules that is right can stay: we only look more closely again the next time.
  await writeFile(mark, `${digest}\n`).catch(() => undefined);
}

/** One line that says what went wrong and what to do, from npm's own words. */
function npmProblem({ code, stderr }, logFile) {
  const advice = ADVICE.find(([pattern]) => pattern.test(stderr))?.[1] ?? 'the log says why';
  return `npm ci failed (exit code ${code}): ${advice}. Its output: ${logFile}`;
}

const ADVICE = [
  [
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|network/,
    "the npm registry cannot be reached; check the network and the proxy ('npm config get registry'), then run this again",
  ],
  [/EACCES|EPERM|EROFS/, 'no permission to write node_modules; run this as the owner of the folder'],
  [/ENOSPC/, 'the disk is full; make room and run this again'],
  [/EUSAGE|in sync/, "package.json and package-lock.json do not agree; run 'npm install' and look at what it changes"],
  [/E401|E403/, "the npm registry refused us; check 'npm config get registry' and your login, then run this again"],
  [/npm ENOENT|npm: not found/, 'npm was not found; it comes with Node, see https://nodejs.org'],
];

async function install(reason, { root, env, run, say }) {
  say(`Installing npm packages (npm ci): ${reason}…`);
  const [command, ...args] = npmCommand(env);
  // NODE_ENV=production would leave the compiler out.
  const result = await run(command, [...args, 'ci', '--include=dev', '--no-progress'], { cwd: root, env });
  if (result.code === 0) return;
  const logFile = join(root, '.onqueue', 'npm-ci.log');
  await mkdir(join(root, '.onqueue'), { recursive: true }).catch(() => undefined);
  await writeFile(logFile, result.stdout + result.stderr).catch(() => undefined);
  if (env.ONQUEUE_DEBUG) say(result.stderr);
  throw new SetupError(npmProblem(result, logFile));
}

/** The npm that runs us, else the one on PATH. */
function npmCommand({ npm_execpath: path }) {
  return path && basename(path) === 'npm-cli.js' ? [process.execPath, path] : ['npm'];
}

/** Without our mark (somebody ran npm by hand) the lock is compared with what npm noted down; null when they agree. */
async function whyStale(root, lock) {
  const installed = await read(join(root, 'node_modules', '.package-lock.json'));
  if (installed === null) return 'node_modules is missing';
  const has = JSON.parse(installed).packages;
  for (const [path, wanted] of Object.entries(JSON.parse(lock).packages)) {
    if (path === '' || (has[path] === undefined && (wanted.optional || wanted.peer))) continue;
    if (has[path]?.version !== wanted.version || has[path]?.integrity !== wanted.integrity) {
      return 'node_modules is not what package-lock.json says';
    }
  }
  return null;
}

function read(file) {
  return readFile(file, 'utf8').catch(() => null);
}
