import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { lockFolder } from './folder-lock.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onqueue-lock-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** The id of a process that has just ended. */
const endedPid = () => spawnSync(process.execPath, ['-e', '']).pid;

test('refuses a folder whose holder lives, in one line that names it', async () => {
  const lock = await lockFolder(folder);
  await expect(lockFolder(folder)).rejects.toThrow(`is in use by process ${process.pid}`);
  await lock.release();
  await (await lockFolder(folder)).release();
});

test('takes over a lock whose holders have ended', async () => {
  await writeFile(join(folder, 'onqueue.lock'), JSON.stringify([{ pid: endedPid(), startedAt: '1' }]));
  await (await lockFolder(folder)).release();
});

test('takes over a lock whose process id now belongs to another process', async () => {
  await writeFile(join(folder, 'onqueue.lock'), JSON.stringify([{ pid: process.pid, startedAt: '1' }]));
  await (await lockFolder(folder)).release();
});

test('takes over a lock that cannot be read', async () => {
  await writeFile(join(folder, 'onqueue.lock'), '{"pid":');
  await (await lockFolder(folder)).release();
});

test('holds while a process that was added lives, even when the first holder has ended', async () => {
  await writeFile(join(folder, 'onqueue.lock'), JSON.stringify([{ pid: endedPid(), startedAt: '1' }]));
  const lock = await lockFolder(folder);
  await lock.add(process.ppid);
  await expect(lockFolder(folder)).rejects.toThrow('is in use by process');
  await lock.release();
});
