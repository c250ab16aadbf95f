import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { systemClock } from '@onqueue/shared';
import { ArtifactCache } from './artifact-cache.ts';

let cacheDir: string;
beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'onqueue-cache-'));
});
afterEach(() => rm(cacheDir, { recursive: true, force: true }));

const { signal } = new AbortController();
/** Each as a process of its own would have one. */
const newCache = () => new ArtifactCache({ cacheDir, clock: systemClock });

test('what several want at the same time is fetched once', async () => {
  let fills = 0;
  const fill = async (folder: string) => {
    fills += 1;
    await writeFile(join(folder, 'model.onnx'), 'graph');
  };
  const folders = await Promise.all(
    Array.from({ length: 8 }, () => newCache().folderOf({ version: '1' }, { fill, signal })),
  );
  expect(fills).toBe(1);
  expect(new Set(folders).size).toBe(1);
  expect(await readFile(join(String(folders[0]), 'model.onnx'), 'utf8')).toBe('graph');
  expect(await readdir(join(cacheDir, 'models'))).toEqual([basename(String(folders[0]))]);
});

test('what could not be fetched whole leaves nothing, and is fetched by the next', async () => {
  const fails = async (folder: string) => {
    await writeFile(join(folder, 'half'), '');
    throw new Error('the connection was lost');
  };
  await expect(newCache().folderOf('a', { fill: fails, signal })).rejects.toThrow('the connection was lost');
  expect(await readdir(join(cacheDir, 'models'))).toEqual([]);
  const folder = await newCache().folderOf('a', { fill: (draft) => writeFile(join(draft, 'whole'), ''), signal });
  expect(await readdir(folder)).toEqual(['whole']);
});

test('the lock and the draft of a process that died are cleared away', async () => {
  const folder = await newCache().folderOf('a', { fill: async () => {}, signal });
  await rm(folder, { recursive: true });
  await mkdir(`${folder}.dead.part`);
  await writeFile(`${folder}.lock`, '');
  const longAgo = new Date(Date.now() - 60_000);
  await utimes(`${folder}.lock`, longAgo, longAgo);
  await newCache().folderOf('a', { fill: async () => {}, signal });
  expect(await readdir(join(cacheDir, 'models'))).toEqual([basename(folder)]);
});

test('a wait for another process ends with the worker', async () => {
  const stop = new AbortController();
  const folder = await newCache().folderOf('a', { fill: async () => {}, signal });
  await rm(folder, { recursive: true });
  await writeFile(`${folder}.lock`, '');
  const waiting = newCache().folderOf('a', { fill: async () => {}, signal: stop.signal });
  stop.abort(new Error('stopped'));
  await expect(waiting).rejects.toThrow('stopped');
});
