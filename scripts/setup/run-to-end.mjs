import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { repoRoot } from './repo-root.mjs';

/**
 * Runs Node with our terminal, hands signals on, and resolves with the exit code (128 + n after signal n, as in a
 * shell). On Ctrl-C the terminal tells the whole group, so the child may hear it twice; the launcher knows an echo.
 *
 * npm runs us through a shell that a SIGTERM ends without a word to us: under npm the loss of that shell is a SIGTERM.
 * Elsewhere it is not (`nohup node scripts/start.mjs &` outlives its shell on purpose).
 *
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number>}
 */
export function runToEnd(args, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: repoRoot, env, stdio: 'inherit' });
    const handOn = (signal) => child.kill(signal);
    for (const signal of SIGNALS) process.on(signal, handOn);
    const stopWatching = env.npm_lifecycle_event ? onParentLost(() => handOn('SIGTERM')) : () => undefined;
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      stopWatching();
      for (const name of SIGNALS) process.off(name, handOn);
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
/** Asking costs one system call. */
const PARENT_POLL_MS = 200;

/** An orphan gets a new parent; no event tells it. */
function onParentLost(act) {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    act();
  }, PARENT_POLL_MS);
  return () => clearInterval(timer);
}
