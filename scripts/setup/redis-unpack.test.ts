import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { unpackRedis } from './redis-unpack.mjs';
import { runCommand } from './run-command.mjs';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "onqueue-user's folder-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** An apt that knows the package from the start, or after an update into lists of our own, or never. */
function apt(knows: 'always' | 'after update' | 'never', server = '#!/bin/sh\necho "$LD_LIBRARY_PATH $1"\n') {
  const ran: string[] = [];
  const run = async (command: string, args: readonly string[], options: { cwd?: string } = {}) => {
    ran.push([command, ...args].join(' '));
    const isKnown =
      knows === 'always' || (knows === 'after update' && args.some((arg) => arg.startsWith('Dir::State')));
    if (args.includes('-s')) {
      const stdout = 'Inst liblzf1 (3.6)\nInst redis-tools (7.0)\nInst redis-server (7.0)\nConf redis-server (7.0)\n';
      return isKnown ? { code: 0, stdout, stderr: '' } : { code: 100, stdout: '', stderr: 'E: Unable to locate' };
    }
    if (args.includes('download')) await writeFile(join(options.cwd ?? '', 'redis-server.deb'), '');
    if (command === 'dpkg') await unpackInto(args[2] ?? '', server);
    return command === 'apt-get' || command === 'dpkg'
      ? { code: 0, stdout: '', stderr: '' }
      : runCommand(command, args);
  };
  return { ran, run };
}

async function unpackInto(tree: string, server: string) {
  await mkdir(join(tree, 'usr', 'bin'), { recursive: true });
  await mkdir(join(tree, 'usr', 'lib', 'x86_64-linux-gnu'), { recursive: true });
  await writeFile(join(tree, 'usr', 'bin', 'redis-server'), server);
  await chmod(join(tree, 'usr', 'bin', 'redis-server'), 0o755);
}

test('downloads what is missing and writes a starter that finds the libraries', async () => {
  const { ran, run } = apt('always');
  expect(await unpackRedis({ root, run })).toBeNull();
  expect(ran).toContain('apt-get download liblzf1 redis-tools redis-server');
  const folder = join(root, '.onqueue', 'redis');
  const { stdout } = await runCommand(join(folder, 'redis-server'), ['--port']);
  expect(stdout).toBe(`${join(folder, 'root', 'usr', 'lib', 'x86_64-linux-gnu')} --port\n`);
});

test('reads package lists of its own when the system has none', async () => {
  const { ran, run } = apt('after update');
  expect(await unpackRedis({ root, run })).toBeNull();
  expect(ran.some((line) => line.includes('Dir::State::lists=') && line.endsWith(' update'))).toBe(true);
});

test('says when nothing can be downloaded', async () => {
  const { run } = apt('never');
  expect(await unpackRedis({ root, run })).toBe("'apt-get download redis-server' failed");
});

test('says when the server that came does not run', async () => {
  const { run } = apt('always', '#!/bin/sh\necho "libssl.so.3: cannot open shared object file" >&2\nexit 127\n');
  expect(await unpackRedis({ root, run })).toBe(
    'the unpacked redis-server does not run (libssl.so.3: cannot open shared object file)',
  );
});
