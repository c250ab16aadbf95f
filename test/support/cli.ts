import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { repoRoot } from '@onqueue/launcher';
import { runCli } from '../../packages/cli/src/cli.ts';

export interface CliRun {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The command line as it was built, in a process of its own that knows nothing of the environment of the tests. */
export async function onqueue(args: readonly string[], options: CliOptions = {}): Promise<CliRun> {
  return startOnqueue(args, options).ended;
}

/** The same in this process: what a process of its own adds is its start. */
export async function onqueueHere(args: readonly string[], options: CliOptions = {}): Promise<CliRun> {
  const printed: string[] = [];
  const complained: string[] = [];
  const code = await runCli({
    args,
    env: options.env ?? {},
    cwd: options.cwd ?? repoRoot,
    print: (line) => printed.push(`${line}\n`),
    printError: (line) => complained.push(`${line}\n`),
    progress: undefined,
    readInput: () => Promise.resolve(options.input ?? ''),
    interrupted: () => new Promise(() => {}),
  });
  return { code, stdout: printed.join(''), stderr: complained.join('') };
}

interface CliOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** Piped in. */
  input?: string;
}

/** The same, to be looked at while it runs. */
export function startOnqueue(args: readonly string[], options: CliOptions = {}) {
  const child = spawn(process.execPath, [join(repoRoot, 'packages/cli/dist/main.js'), ...args], {
    cwd: options.cwd ?? repoRoot,
    env: { PATH: process.env.PATH, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // It may have ended without reading.
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]).then(
    ([stdout, stderr, [code]]): CliRun => ({ code, stdout, stderr }),
  );
  return { child, ended };
}
