import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { repoRoot } from '@onqueue/launcher';

export interface CliRun {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The command line as it was built, in a process of its own that knows nothing of the environment of the tests. */
export async function onqueue(args: readonly string[], options: { cwd?: string } = {}): Promise<CliRun> {
  const child = spawn(process.execPath, [join(repoRoot, 'packages/cli/dist/main.js'), ...args], {
    cwd: options.cwd ?? repoRoot,
    env: { PATH: process.env.PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code, stdout, stderr };
}
