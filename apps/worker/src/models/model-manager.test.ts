import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { ModelManifest, ModelOrder, ServingPolicy, VersionPolicy } from '@onqueue/shared';
import { ManualClock, settle } from '../../../../test/support/manual-clock.ts';
import { HaltSignal } from '../batching/halt-signal.ts';
import { RunnerStartError } from '../runner/runner-errors.ts';
import type { LoadedVersion, WholeVersion } from './managed-version.ts';
import { ModelManager, type UnloadCause } from './model-manager.ts';
import type { WatchedVersion } from './repository-watcher.ts';

const RUNNER_BYTES = 100;

class FakeVersion implements LoadedVersion {
  readonly fallbackReason = undefined;
  readonly descriptor: LoadedVersion['descriptor'];
  readonly maxBatchSize = 8;
  readonly instances: number;
  isIdle = true;
  isStopped = false;
  stop = async () => {
    this.isStopped = true;
  };

  constructor({ name, version }: WholeVersion, instances: number) {
    this.descriptor = { name, version } as LoadedVersion['descriptor'];
    this.instances = instances;
  }

  get residentBytes(): number {
    return this.isStopped ? 0 : RUNNER_BYTES * this.instances;
  }
}

let clock: ManualClock;
/** What a load of a version ends with, when it is not a success at once. */
let loads: Map<string, Promise<unknown>>;
let loaded: FakeVersion[];
let busy: Set<string>;
let published: Set<string>;
let hasOlder: boolean;
let told: string[];
let manager: ModelManager<FakeVersion>;

beforeEach(() => {
  clock = new ManualClock();
  loads = new Map();
  loaded = [];
  busy = new Set();
  published = new Set();
  hasOlder = false;
  told = [];
});

afterEach(async () => {
  const stopped = manager.stop();
  await clock.advance(1000);
  await stopped;
});

function start({ policy = { versions: 'all' }, budget = 0 }: { policy?: VersionPolicy; budget?: number } = {}) {
  manager = new ModelManager<FakeVersion>({
    load: async (whole, { instances }) => {
      await loads.get(`${whole.name}/${whole.version}`);
      const version = new FakeVersion(whole, instances);
      loaded.push(version);
      return version;
    },
    instances: 1,
    policy,
    budgetBytes: budget,
    estimateBytes: async () => RUNNER_BYTES,
    coldStartTimeoutMs: 5000,
    drainMs: 60_000,
    isPublished: ({ name, version }: ModelManifest) => published.has(`${name}/${version}`),
    isBusy: ({ name, version }) => busy.has(`${name}/${version}`),
    hasOlder: async () => hasOlder,
    clock,
    events: {
      onChange: () => undefined,
      onRetired: ({ name, version }, { cause }) => void told.push(`${name}/${version} retired: ${cause}`),
      onLoaded: ({ name, version }, { coldStartMs }) =>
        void told.push(`${name}/${version} loaded${coldStartMs === undefined ? '' : ' cold'}`),
      onFailed: ({ name, version }) => void told.push(`${name}/${version} failed`),
      onUnloaded: ({ name, version }, cause: UnloadCause) => void told.push(`${name}/${version} unloaded: ${cause}`),
      onForgotten: ({ name, version }) => void told.push(`${name}/${version} forgotten`),
    },
  });
}

function whole(
  version: string,
  options: { name?: string; content?: string; serving?: ServingPolicy } = {},
): WholeVersion {
  const { name = 'm', content = '', serving } = options;
  const manifest = { name, version, serving, batching: { max_batch_size: 8 } } as unknown as ModelManifest;
  const identity = `${name}/${version} ${content}`;
  return { name, version, status: 'whole', folder: '/', manifest, identity, fingerprint: identity };
}

async function apply(...versions: WatchedVersion[]): Promise<void> {
  manager.apply({ versions, policies: new Map() });
  await settle();
}

const order = (want: 'load' | 'unload', version?: string, atMs = 1): ModelOrder => ({ name: 'm', version, want, atMs });
const states = () => manager.versions.map(({ version, state }) => `${version} ${state}`);
/** By a drain that finds nothing to wait for. */
const drained = () => clock.advance(5000);

test('a version that comes is loaded, and served when it is proved', async () => {
  start();
  let prove = () => {};
  loads.set('m/2', new Promise<void>((resolve) => (prove = resolve)));
  await apply(whole('1'));
  await apply(whole('1'), whole('2'));
  expect(states()).toEqual(['1 ready', '2 loading']);
  expect(manager.get('m', '2')).toBeUndefined();
  prove();
  await settle();
  expect(states()).toEqual(['1 ready', '2 ready']);
  expect(manager.get('m', '2')).toBe(loaded[1]);
});

test('one that cannot be loaded says why, is not tried again as it is, and is when its files change', async () => {
  start({ policy: { versions: 'latest', count: 1 } });
  loads.set('m/2', Promise.reject(new RunnerStartError('load_failed', 'the golden rows differ')));
  await apply(whole('1'));
  await apply(whole('1'), whole('2'));
  expect(states()).toEqual(['1 ready', '2 failed']);
  expect(manager.versions[1]?.reason).toBe('the golden rows differ');
  await clock.advance(3_600_000);
  loads.clear();
  await apply(whole('1'), whole('2'));
  expect(told.filter((line) => line === 'm/2 failed')).toHaveLength(1);
  await apply(whole('1'), whole('2', { content: 'mended' }));
  expect(states()).toEqual(['1 draining', '2 ready']);
});

test('a failure that may pass is tried again by itself, ever more seldom', async () => {
  start();
  loads.set('m/1', Promise.reject(new RunnerStartError('timeout', 'too slow')));
  await apply(whole('1'));
  await clock.advance(10_000);
  await clock.advance(10_000);
  expect(told).toEqual(['m/1 failed', 'm/1 failed']);
  loads.clear();
  await clock.advance(10_000);
  expect(states()).toEqual(['1 ready']);
});

test('a version that was removed serves until its jobs are through, then its runners end', async () => {
  start();
  await apply(whole('1'), whole('2'));
  busy.add('m/1');
  await apply(whole('2'));
  expect(states()).toEqual(['1 draining', '2 ready']);
  expect(told).toContain('m/1 retired: removed');
  await clock.advance(10_000);
  expect(manager.get('m', '1')).toBe(loaded[0]);
  busy.clear();
  hasOlder = true;
  await clock.advance(10_000);
  expect(manager.get('m', '1')).toBe(loaded[0]);
  hasOlder = false;
  await drained();
  expect(states()).toEqual(['2 ready']);
  expect(loaded[0]?.isStopped).toBe(true);
  expect(told.slice(-2)).toEqual(['m/1 unloaded: removed', 'm/1 forgotten']);
});

test('a drain that never ends is ended after drainMs', async () => {
  start();
  await apply(whole('1'), whole('2'));
  busy.add('m/1');
  await apply(whole('2'));
  await clock.advance(59_000);
  expect(states()).toEqual(['1 draining', '2 ready']);
  await clock.advance(2000);
  expect(states()).toEqual(['2 ready']);
});

test('one that comes back while it drains serves on, with the runners that it has', async () => {
  start();
  await apply(whole('1'));
  busy.add('m/1');
  await apply();
  await apply(whole('1'));
  expect(states()).toEqual(['1 ready']);
  // And goes once more.
  busy.clear();
  await apply();
  await drained();
  expect(states()).toEqual([]);
  expect(loaded).toHaveLength(1);
});

test('other files under the same version are loaded beside it, and take its place', async () => {
  start();
  await apply(whole('1'));
  const [before] = loaded;
  loads.set('m/1', Promise.reject(new RunnerStartError('load_failed', 'broken')));
  await apply(whole('1', { content: 'broken' }));
  expect(manager.get('m', '1')).toBe(before);
  expect(manager.versions[0]?.reason).toContain('serves on');
  loads.clear();
  await apply(whole('1', { content: 'new' }));
  expect(manager.get('m', '1')).toBe(loaded[1]);
  expect(before?.isStopped).toBe(false);
  await clock.advance(5000);
  expect(before?.isStopped).toBe(true);
});

test('the latest is served alone, and the one before until then', async () => {
  start({ policy: { versions: 'latest', count: 1 } });
  await apply(whole('9'), whole('10'));
  expect(states()).toEqual(['9 unloaded', '10 ready']);
  let prove = () => {};
  loads.set('m/11', new Promise<void>((resolve) => (prove = resolve)));
  await apply(whole('9'), whole('10'), whole('11'));
  expect(states()).toEqual(['9 unloaded', '10 ready', '11 loading']);
  prove();
  await settle();
  expect(states()).toEqual(['9 unloaded', '10 draining', '11 ready']);
  await drained();
  expect(states()).toEqual(['9 unloaded', '10 unloaded', '11 ready']);
});

test('orders come before the policy, those for a version before those for its model', async () => {
  start({ policy: { versions: 'latest', count: 1 } });
  manager.obey([order('unload')]);
  await apply(whole('1'), whole('2'));
  expect(states()).toEqual(['1 unloaded', '2 unloaded']);
  manager.obey([order('unload'), order('load', '1')]);
  await settle();
  expect(states()).toEqual(['1 ready', '2 unloaded']);
  manager.obey([order('load')]);
  await settle();
  expect(states()).toEqual(['1 draining', '2 ready']);
});

test('what was published before this worker began and is not to be served is retired', async () => {
  published.add('m/1');
  start();
  manager.obey([order('unload')]);
  await apply(whole('1'));
  expect(told).toEqual(['m/1 retired: unloaded']);
});

const onDemand = (name: string, serving: ServingPolicy = {}) =>
  whole('1', { name, serving: { on_demand: true, ...serving } });

test('an on_demand version is proved once, and from then on loaded by the job that needs it', async () => {
  start();
  await apply(onDemand('a'));
  expect(told).toEqual(['a/1 loaded']);
  await manager.stop();
  published.add('a/1');
  start();
  await apply(onDemand('a'));
  expect(manager.versions.map(({ state }) => state)).toEqual(['unloaded']);
  expect(manager.models).toEqual(['a']);
  expect(manager.reports()).toMatchObject([{ isOffered: true }]);
  const jobs = await Promise.all([
    manager.summon('a', '1', new HaltSignal()),
    manager.summon('a', '1', new HaltSignal()),
  ]);
  expect(jobs).toEqual([loaded[1], loaded[1]]);
  expect(told.slice(1)).toEqual(['a/1 loaded cold']);
});

test('a job waits for an on_demand version no longer than it may', async () => {
  published.add('a/1');
  start();
  let prove = () => {};
  loads.set('a/1', new Promise<void>((resolve) => (prove = resolve)));
  await apply(onDemand('a'));
  const job = manager.summon('a', '1', new HaltSignal());
  await clock.advance(5000);
  expect(await job).toBeUndefined();
  const halt = new HaltSignal();
  const halted = manager.summon('a', '1', halt);
  halt.halt();
  expect(await halted).toBeUndefined();
  prove();
  await settle();
  expect(manager.get('a', '1')).toBe(loaded[0]);
  expect(await manager.summon('b', '1', new HaltSignal())).toBeUndefined();
});

test('beyond the budget the one that was used longest ago is unloaded, and none that is in use', async () => {
  for (const name of ['a', 'b', 'c']) published.add(`${name}/1`);
  start({ budget: 2 * RUNNER_BYTES });
  await apply(onDemand('a'), onDemand('b'), onDemand('c'));
  const use = async (name: string) => {
    const served = manager.get(name, '1') ?? (await manager.summon(name, '1', new HaltSignal()));
    await clock.advance(10);
    return served;
  };
  const inMemory = () => manager.served.map(({ descriptor }) => descriptor.name);
  await use('a');
  await use('b');
  await use('a');
  expect(await use('c')).toBeDefined();
  expect(inMemory()).toEqual(['a', 'c']);
  expect(told.at(-2)).toBe('b/1 unloaded: memory');
  busy.add('a/1');
  await use('c');
  expect(await use('b')).toBeDefined();
  expect(inMemory()).toEqual(['a', 'b']);
  expect(manager.residentBytes).toBe(2 * RUNNER_BYTES);

  // Where all are in use the job waits, until one is not or its time is over.
  busy.add('b/1');
  const waiting = use('c');
  await clock.advance(1000);
  expect(inMemory()).toEqual(['a', 'b']);
  busy.delete('b/1');
  await clock.advance(200);
  expect(await waiting).toBeDefined();
  expect(inMemory()).toEqual(['a', 'c']);
});

test('versions that are proved at the same time wait for each other to make room', async () => {
  start({ budget: RUNNER_BYTES });
  await apply(onDemand('a'), onDemand('b'), onDemand('c'));
  await clock.advance(1000);
  expect(told.filter((line) => line.endsWith('loaded'))).toEqual(['a/1 loaded', 'b/1 loaded', 'c/1 loaded']);
  expect(manager.models).toEqual(['a', 'b', 'c']);
  expect(manager.served).toHaveLength(1);
});

test('a version that does not fit is not loaded, says so, and is when there is room', async () => {
  start({ budget: 1.5 * RUNNER_BYTES });
  await apply(whole('1'));
  await apply(whole('1'), whole('2'));
  expect(states()).toEqual(['1 ready', '2 failed']);
  expect(manager.versions[1]?.reason).toContain('ONQUEUE_MODEL_MEMORY_BUDGET_BYTES');
  await apply(whole('2'));
  await drained();
  await clock.advance(10_000);
  expect(states()).toEqual(['2 ready']);
});

test('min_instances stay when memory is needed, and become more again when the version is used', async () => {
  published.add('a/1').add('b/1');
  start({ budget: 3 * RUNNER_BYTES });
  const floor = onDemand('a', { instances: 2, min_instances: 1 });
  const other = onDemand('b', { instances: 2 });
  await apply(floor, other);
  expect((await manager.summon('a', '1', new HaltSignal()))?.instances).toBe(2);
  const job = manager.summon('b', '1', new HaltSignal());
  await clock.advance(4000);
  expect((await job)?.instances).toBe(2);
  expect(manager.get('a', '1')?.instances).toBe(1);
  expect(manager.residentBytes).toBe(3 * RUNNER_BYTES);
  // There is no room yet: it serves on with what it has.
  await clock.advance(10_000);
  manager.get('a', '1');
  await settle();
  expect(manager.get('a', '1')?.instances).toBe(1);
  await apply(floor);
  await drained();
  await clock.advance(10_000);
  manager.get('a', '1');
  await settle();
  expect(manager.get('a', '1')?.instances).toBe(2);
});
