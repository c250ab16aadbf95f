import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from '@jest/globals';
import { repoRoot } from '@onqueue/launcher';

/** What the npm scripts do last: run Node on these arguments and end as it ends. */
const wrapper = (source: string) => `
  import { runToEnd } from './scripts/setup/run-to-end.mjs';
  process.exitCode = await runToEnd(['--eval', ${JSON.stringify(source)}], process.env);`;

function run(command: string, args: string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(command, args, {
    cwd: repoRoot,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout.setEncoding('utf8');
  return child;
}

const nodeArgs = (source: string) => ['--input-type=module', '--eval', wrapper(source)];

/** Says that it runs; says which signal it hears, and how often, and then ends with 0. */
const LISTENER = `
  const heard = [];
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {
    heard.push(signal);
    setImmediate(() => { console.log(heard.join()); process.exit(0); });
  });
  console.log('up');
  setInterval(() => undefined, 1000);`;

test.each([
  ['process.exit(5)', 5],
  ["process.kill(process.pid, 'SIGKILL')", 137],
])('ends as what it runs: %s', async (source, expected) => {
  const [code] = await once(run(process.execPath, nodeArgs(source)), 'exit');
  expect(code).toBe(expected);
});

test('hands a signal on and waits for the end', async () => {
  const child = run(process.execPath, nodeArgs(LISTENER));
  expect((await once(child.stdout, 'data'))[0]).toBe('up\n');
  child.kill('SIGINT');
  expect((await once(child.stdout, 'data'))[0]).toBe('SIGINT\n');
  const [code] = await once(child, 'exit');
  expect(code).toBe(0);
});

test('takes the loss of the shell that npm put between for a SIGTERM', async () => {
  const shell = run('/bin/sh', ['-c', '"$0" "$@" & wait', process.execPath, ...nodeArgs(LISTENER)], {
    npm_lifecycle_event: 'start',
  });
  expect((await once(shell.stdout, 'data'))[0]).toBe('up\n');
  shell.kill('SIGTERM');
  expect((await once(shell.stdout, 'data'))[0]).toBe('SIGTERM\n');
});
