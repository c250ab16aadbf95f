import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Calibration } from '@onqueue/shared';
import { CalibrationCache, type CalibrationKey, defaultCacheDir } from './calibration-cache.ts';

const machine = { cpu: 'EPYC', cores: 2, intra_op_threads: 1, runtime: 'onnxruntime-node 1.30.0' };
const key: CalibrationKey = {
  artifact_sha256: 'a',
  preprocess_sha256: 'p',
  machine,
  max_batch_size: 64,
  budget_ms: 2000,
};
const measured: Calibration = {
  max_batch_size: 16,
  curve: [{ batch_size: 16, rows_per_s: 100, ms: 160, compute_ms: 150 }],
  measured_at: '2026-11-24T14:00:00.000Z',
  machine,
};

let cacheDir: string;
let cache: CalibrationCache;

beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'onqueue-cache-'));
  cache = new CalibrationCache({ cacheDir });
});
afterEach(() => rm(cacheDir, { recursive: true, force: true }));

const onlyFile = async () => {
  const files = await readdir(join(cacheDir, 'calibration'));
  expect(files).toHaveLength(1);
  return join(cacheDir, 'calibration', String(files[0]));
};

describe('the calibration cache', () => {
  test('gives back what was written, to another process too', async () => {
    await cache.write(key, measured);
    expect(await new CalibrationCache({ cacheDir }).read(key)).toEqual(measured);
  });

  test('has nothing at first, and makes its folder when it is needed', async () => {
    const fresh = new CalibrationCache({ cacheDir: join(cacheDir, 'not', 'there') });
    expect(await fresh.read(key)).toBeUndefined();
    await fresh.write(key, measured);
    expect(await fresh.read(key)).toEqual(measured);
  });

  test.each<[string, CalibrationKey]>([
    ['artifact', { ...key, artifact_sha256: 'b' }],
    ['preprocessing', { ...key, preprocess_sha256: 'q' }],
    ['processor', { ...key, machine: { ...machine, cpu: 'Xeon' } }],
    ['number of cores', { ...key, machine: { ...machine, cores: 4 } }],
    ['number of threads', { ...key, machine: { ...machine, intra_op_threads: 2 } }],
    ['runtime', { ...key, machine: { ...machine, runtime: 'onnxruntime-node 1.31.0' } }],
    ['limit', { ...key, max_batch_size: 128 }],
    ['budget', { ...key, budget_ms: 5000 }],
  ])('has nothing for another %s', async (_, other) => {
    await cache.write(key, measured);
    expect(await cache.read(other)).toBeUndefined();
  });

  test.each([
    ['cut short', (text: string) => text.slice(0, 40)],
    ['empty', () => ''],
    ['of a version to come', (text: string) => text.replace('"schema_version": 1', '"schema_version": 2')],
    ['without a curve', (text: string) => text.replace('"curve"', '"curves"')],
    ['beyond the limit', (text: string) => text.replace('"max_batch_size": 16', '"max_batch_size": 4096')],
  ])('ignores a file that is %s, and replaces it', async (_, spoil) => {
    await cache.write(key, measured);
    const file = await onlyFile();
    const text = await readFile(file, 'utf8');
    expect(spoil(text)).not.toBe(text);
    await writeFile(file, spoil(text));
    expect(await cache.read(key)).toBeUndefined();
    await cache.write(key, measured);
    expect(await cache.read(key)).toEqual(measured);
  });

  test('is whole with many writers at once, and leaves no drafts', async () => {
    const caches = Array.from({ length: 20 }, () => new CalibrationCache({ cacheDir }));
    await Promise.all(caches.map((other) => other.write(key, measured)));
    await onlyFile();
    expect(await cache.read(key)).toEqual(measured);
  });

  test('rejects a write into a folder that cannot be', async () => {
    await writeFile(join(cacheDir, 'file'), '');
    await expect(new CalibrationCache({ cacheDir: join(cacheDir, 'file') }).write(key, measured)).rejects.toThrow();
  });
});

test('the default folder is the cache folder of the user', () => {
  expect(defaultCacheDir({ XDG_CACHE_HOME: '/x', HOME: '/home/me' })).toBe(join('/x', 'onqueue'));
  expect(defaultCacheDir({ HOME: '/home/me' })).toBe(join('/home/me', '.cache', 'onqueue'));
});
