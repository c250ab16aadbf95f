import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { writeLinearModel } from '../../../../test/support/models/tiny-models.ts';
import { FolderModelSource } from './folder-model-source.ts';
import { type RepositorySnapshot, RepositoryWatcher } from './repository-watcher.ts';

const POLL_MS = 100;
const SETTLE_MS = 1000;

let modelsDir: string;
let clock: ManualClock;
let errors: string[];
let watcher: RepositoryWatcher;
/** What waits for the next look. */
let onLook: ((snapshot: RepositorySnapshot | undefined) => void) | undefined;

beforeEach(async () => {
  modelsDir = await mkdtemp(join(tmpdir(), 'onqueue-watch-'));
  clock = new ManualClock();
  errors = [];
  watcher = newWatcher([]);
});

afterEach(async () => {
  watcher.stop();
  await rm(modelsDir, { recursive: true, force: true });
});

function newWatcher(models: readonly string[]): RepositoryWatcher {
  return new RepositoryWatcher({
    readGraph: () => Promise.reject(new Error('There is no export here.')),
    source: new FolderModelSource({ modelsDir }),
    models,
    pollMs: POLL_MS,
    settleMs: SETTLE_MS,
    clock,
    onSnapshot: (snapshot) => onLook?.(snapshot),
    onError: ({ message }) => {
      errors.push(message);
      onLook?.(undefined);
    },
  });
}

/** The next look, and what it finds; undefined when it failed. */
async function look(): Promise<string[] | undefined> {
  const looked = new Promise<RepositorySnapshot | undefined>((resolve) => {
    onLook = resolve;
  });
  await clock.advance(POLL_MS);
  const snapshot = await looked;
  return snapshot && found(snapshot);
}

function found({ versions }: RepositorySnapshot): string[] {
  return versions.map(({ name, version, status }) => `${name}/${version} ${status}`);
}

const linear = (version: string, name = 'linear') => writeLinearModel({ dir: modelsDir, name, version });

test('what is there at the first look is told at once, broken or not', async () => {
  await linear('1');
  await mkdir(join(modelsDir, 'linear', '2'));
  expect(found(await watcher.start())).toEqual(['linear/1 whole', 'linear/2 incomplete']);
});

test('a version that comes is taken up when two looks have found it whole and unchanged', async () => {
  await linear('1');
  await watcher.start();
  await linear('2');
  expect(await look()).toEqual(['linear/1 whole', 'linear/2 settling']);
  expect(await look()).toEqual(['linear/1 whole', 'linear/2 whole']);
});

test('one that still changes is not looked into, and one that does not is reported when it has settled', async () => {
  await linear('1');
  await watcher.start();
  const { folder } = await linear('2');
  const artifact = join(folder, 'model.onnx');
  for (const half of ['a', 'ab', 'abc']) {
    await writeFile(artifact, half);
    expect(await look()).toContain('linear/2 settling');
  }
  const looks: (string | undefined)[] = [];
  while (!looks.includes('linear/2 incomplete')) looks.push((await look())?.[1]);
  expect(looks).toHaveLength(SETTLE_MS / POLL_MS);
  await linear('2');
  await look();
  expect(await look()).toContain('linear/2 whole');
});

test('whole files that are touched or written anew keep the version as it was meanwhile', async () => {
  const { folder } = await linear('1');
  const before = (await watcher.start()).versions[0];
  await utimes(join(folder, 'model.json'), new Date(), new Date(Date.now() + 5000));
  expect(await look()).toEqual(['linear/1 whole']);
  const after = await new Promise<RepositorySnapshot | undefined>((resolve) => {
    onLook = resolve;
    void clock.advance(POLL_MS);
  });
  expect(before).toMatchObject({ status: 'whole' });
  // The same model: nothing is to be loaded again. Another state of the files: what failed is worth another try.
  const { fingerprint, ...same } = before as { fingerprint: string };
  expect(after?.versions[0]).toMatchObject(same);
  expect(after?.versions[0]).not.toMatchObject({ fingerprint });
});

test('a version is gone when two looks in a row have not found it', async () => {
  await linear('1');
  const { folder } = await linear('2');
  await watcher.start();
  await rm(folder, { recursive: true });
  expect(await look()).toEqual(['linear/1 whole', 'linear/2 whole']);
  expect(await look()).toEqual(['linear/1 whole']);
});

test('a repository that is empty all at once is taken for one that is not mounted', async () => {
  await linear('1');
  await watcher.start();
  await rm(join(modelsDir, 'linear'), { recursive: true });
  expect(await look()).toBeUndefined();
  expect(errors[0]).toContain('as if it were not mounted');
  await linear('1');
  await look();
  expect(await look()).toEqual(['linear/1 whole']);
});

test('the last version of a model may go when its folder stays', async () => {
  const { folder } = await linear('1');
  await watcher.start();
  await rm(folder, { recursive: true });
  await look();
  expect(await look()).toEqual([]);
});

test('a policy is read; one that is not understood leaves the one before, and says so', async () => {
  await linear('1');
  const file = join(modelsDir, 'linear', 'policy.json');
  await writeFile(file, '{"versions":"latest"}');
  const policies = (await watcher.start()).policies;
  expect(policies.get('linear')).toEqual({ versions: 'latest', count: 1 });
  await writeFile(file, '{"versions":"newest"}');
  let after: RepositorySnapshot | undefined;
  const looked = new Promise<void>((resolve) => {
    onLook = (snapshot) => {
      after ??= snapshot;
      if (after) resolve();
    };
  });
  await clock.advance(POLL_MS);
  await looked;
  expect(after?.policies.get('linear')).toEqual({ versions: 'latest', count: 1 });
  expect(errors[0]).toContain('linear/policy.json');
});

test('models that this worker is not to serve are not looked at', async () => {
  await linear('1');
  await linear('1', 'other');
  watcher.stop();
  watcher = newWatcher(['other']);
  expect(found(await watcher.start())).toEqual(['other/1 whole']);
});
