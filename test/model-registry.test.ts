import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { RedisServer } from '@onqueue/launcher';
import type { CircuitState, ModelDescriptor, VersionBeat, VersionReport, VersionState } from '@onqueue/shared';
import { closeRedis, connectRedis, type RedisConnection, RedisKeys, RedisModelRegistry } from '@onqueue/shared/redis';
import { startPrivateRedis } from './support/platform.ts';
import { until } from './support/until.ts';

const keys = new RedisKeys('oq');
const unreadable: string[] = [];

let server: RedisServer;
let redis: RedisConnection;
let registry: RedisModelRegistry;

beforeAll(async () => {
  server = await startPrivateRedis();
  redis = connectRedis(server.url, { kind: 'worker' }, () => {});
  registry = new RedisModelRegistry({ redis, keys, onUnreadable: (text) => unreadable.push(text) });
});

afterAll(async () => {
  await closeRedis(redis);
  await server.stop();
});

beforeEach(() => redis.flushall());

function descriptor(version: string): ModelDescriptor {
  return {
    schema_version: 1,
    name: 'fraud',
    version,
    description: '',
    artifact_sha256: 'a',
    preprocess_sha256: 'p',
    decision_policy_sha256: 'd',
    inputs: [],
    outputs: [],
    example: {},
    postprocess: { type: 'score', output: 'p', field: 'p' },
    batching: { max_batch_size: 1, max_queue_delay_ms: 0 },
    kind: 'tabular',
    row: { fields: [{ name: 'x', type: 'number' }] },
  };
}

function beatOf(version: string, circuit: CircuitState = 'closed', retryAfterMs = 0): VersionBeat {
  return { name: 'fraud', version, isReady: circuit !== 'open', circuit, retryAfterMs };
}

const circuit = async () => (await registry.list())[0]?.circuit;

const readyWorkers = async () =>
  (await registry.list()).map(({ descriptor: { version }, readyWorkers }) => [version, readyWorkers]);

test('a published version stays; how many workers serve it comes and goes', async () => {
  await registry.publish(descriptor('1'));
  await registry.publish(descriptor('2'));
  expect((await readyWorkers()).toSorted()).toEqual([
    ['1', 0],
    ['2', 0],
  ]);
  await registry.beat('a', [beatOf('1'), beatOf('2')], 60_000);
  await registry.beat('b', [beatOf('2')], 60_000);
  expect((await readyWorkers()).toSorted()).toEqual([
    ['1', 1],
    ['2', 2],
  ]);
  await registry.beat('a', [], 60_000);
  expect((await readyWorkers()).toSorted()).toEqual([
    ['1', 0],
    ['2', 1],
  ]);
});

test('a worker that falls silent is no longer counted', async () => {
  await registry.publish(descriptor('1'));
  await registry.beat('a', [beatOf('1')], 50);
  expect(await readyWorkers()).toEqual([['1', 1]]);
  await until('its lease is over', async () => (await readyWorkers())[0]?.[1] === 0);
});

test('a descriptor from the future hides no other', async () => {
  await registry.publish(descriptor('1'));
  await redis.hset(keys.models, 'new/1', JSON.stringify({ ...descriptor('1'), schema_version: 99 }));
  expect(await readyWorkers()).toEqual([['1', 0]]);
  expect(unreadable).toHaveLength(1);
});

test('the circuit of a version is open only when those of all its workers are', async () => {
  await registry.publish(descriptor('1'));
  expect(await circuit()).toEqual({ state: 'closed', openWorkers: 0, retryAfterMs: 0 });
  await registry.beat('a', [beatOf('1', 'open', 9000)], 60_000);
  await registry.beat('b', [beatOf('1')], 60_000);
  expect(await circuit()).toEqual({ state: 'closed', openWorkers: 1, retryAfterMs: 0 });
  expect(await readyWorkers()).toEqual([['1', 1]]);

  await registry.beat('b', [beatOf('1', 'open', 4000)], 60_000);
  const { state, openWorkers, retryAfterMs = 0 } = (await circuit()) ?? {};
  expect([state, openWorkers]).toEqual(['open', 2]);
  expect(retryAfterMs).toBeLessThanOrEqual(4000);
  expect(retryAfterMs).toBeGreaterThan(0);

  await registry.beat('a', [beatOf('1', 'half_open')], 60_000);
  expect(await circuit()).toMatchObject({ state: 'half_open', openWorkers: 1 });
});

test('what a worker said of its circuits goes with it, and is forgotten when it falls silent', async () => {
  await registry.publish(descriptor('1'));
  await registry.beat('a', [beatOf('1', 'open', 9000)], 60_000);
  await registry.beat('a', [], 60_000);
  expect(await circuit()).toMatchObject({ state: 'closed', openWorkers: 0 });
  await registry.beat('a', [beatOf('1', 'open', 9000)], 50);
  expect(await circuit()).toMatchObject({ state: 'open' });
  await until('its lease is over', async () => (await circuit())?.state === 'closed');
  await registry.beat('b', [beatOf('1')], 60_000);
  expect(await redis.hkeys(keys.circuits)).toEqual(['fraud/1@b']);
});

const REMOVED = { cause: 'removed', reason: 'It was removed.' } as const;
const fraud = (version: string) => ({ name: 'fraud', version });

function reportOf(version: string, state: VersionState, isOffered = state === 'ready', reason?: string): VersionReport {
  return { ...fraud(version), state, isOffered, reason, ageMs: 1000 };
}

test('a version is retired when no other worker takes jobs for it, and is back when it is published again', async () => {
  await registry.publish(descriptor('1'));
  await registry.beat('a', [beatOf('1')], 60_000, [reportOf('1', 'draining')]);
  await registry.beat('b', [beatOf('1')], 60_000, [reportOf('1', 'ready')]);
  expect(await registry.retire('a', fraud('1'), REMOVED)).toBe(false);
  expect(await registry.list()).toHaveLength(1);
  await registry.beat('b', [beatOf('1')], 60_000, [reportOf('1', 'draining')]);
  expect(await registry.retire('b', fraud('1'), REMOVED)).toBe(true);
  expect(await registry.list()).toEqual([]);
  const { retired } = await registry.beat('c', [], 60_000);
  expect(retired).toEqual([{ ...fraud('1'), cause: 'removed' }]);
  expect((await registry.versions('fraud')).versions).toMatchObject([
    {
      version: '1',
      descriptor: undefined,
      retirement: REMOVED,
      workers: [{ state: 'draining' }, { state: 'draining' }],
    },
  ]);
  await registry.publish(descriptor('1'));
  expect((await registry.beat('c', [], 60_000)).retired).toEqual([]);
});

test('a worker of the previous version, which tells no states, keeps a version too', async () => {
  await registry.publish(descriptor('1'));
  await registry.beat('old', [beatOf('1')], 60_000);
  expect(await registry.retire('a', fraud('1'), REMOVED)).toBe(false);
  expect((await registry.versions('fraud')).versions[0]?.workers).toMatchObject([{ worker: 'old', state: 'ready' }]);
  await registry.beat('old', [], 60_000);
  expect(await registry.retire('a', fraud('1'), REMOVED)).toBe(true);
});

test('a worker hears which of the versions that it offers are not published', async () => {
  await registry.publish(descriptor('1'));
  const reports = [reportOf('1', 'ready'), reportOf('2', 'unloaded', true), reportOf('3', 'failed')];
  expect((await registry.beat('a', [], 60_000, reports)).unpublished).toEqual([fraud('2')]);
});

test('what a worker says of a version, with the reason and since when, is told for as long as it is true', async () => {
  await registry.beat('a', [], 60_000, [reportOf('2', 'failed', false, 'the golden rows: "7" is not "8"')]);
  const [told] = (await registry.versions('fraud')).versions;
  expect(told).toMatchObject({ version: '2', workers: [{ worker: 'a', state: 'failed' }] });
  expect(told?.workers[0]?.reason).toBe('the golden rows: "7" is not "8"');
  expect(Math.abs(Date.now() - 1000 - (told?.workers[0]?.sinceMs ?? 0))).toBeLessThan(10_000);
  await registry.beat('a', [], 50, [reportOf('2', 'failed')]);
  await until('its lease is over', async () => (await registry.versions('fraud')).versions.length === 0);
});

test('an order stands until the next one for the same; one for a model takes back those for its versions', async () => {
  const orders = async () =>
    (await registry.beat('a', [], 60_000)).orders
      .map(({ name, version = '*', want }) => `${want} ${name}/${version}`)
      .sort();
  await registry.order({ name: 'fraud' }, 'unload');
  await registry.order(fraud('1'), 'load');
  await registry.order({ name: 'fraud-2' }, 'unload');
  expect(await orders()).toEqual(['load fraud/1', 'unload fraud-2/*', 'unload fraud/*']);
  expect((await registry.versions('fraud')).order).toMatchObject({ want: 'unload' });
  await registry.order(fraud('1'), 'unload');
  await registry.order({ name: 'fraud' }, 'load');
  expect(await orders()).toEqual(['load fraud/*', 'unload fraud-2/*']);
});
