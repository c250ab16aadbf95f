import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals';
import type { WrittenModel } from '../../../../test/support/models/model-folder.ts';
import { HANGING_STEPS, writeLinearModel, writeSlowModel } from '../../../../test/support/models/tiny-models.ts';
import { until } from '../../../../test/support/until.ts';
import { BatchPipeline, type RunnerBatch, type RunnerBatchOptions } from './batch-pipeline.ts';
import type { ExecutionPlan } from './execution-plan.ts';
import {
  RunnerBatchError,
  RunnerCrashedError,
  type RunnerExit,
  RunnerStartError,
  RunnerTimeoutError,
} from './runner-errors.ts';
import { RunnerPool, type RunnerPoolOptions } from './runner-pool.ts';
import type { Runner } from './runner-process.ts';
import type { BatchResult, SupervisorMessage } from './runner-protocol.ts';
import type { Restart, StartRunner } from './runner-slot.ts';

const pools: RunnerPool[] = [];
let dir: string;
let slow: WrittenModel;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-pool-'));
  slow = await writeSlowModel({ dir, name: 'slow', version: '1' });
});
afterEach(async () => {
  jest.useRealTimers();
  await Promise.all(pools.splice(0).map((pool) => pool.stop()));
});
afterAll(() => rm(dir, { recursive: true }));

function poolOf(options: Partial<RunnerPoolOptions>): RunnerPool {
  const pool = new RunnerPool({
    ...slow,
    instances: 1,
    intraOpNumThreads: 1,
    startTimeoutMs: 30_000,
    batchTimeoutMs: 30_000,
    readyTimeoutMs: 30_000,
    env: {},
    ...options,
  });
  pools.push(pool);
  return pool;
}

const SCORED = { status: 'succeeded' as const, output: { score: 1 } };

const BATCH: BatchResult = {
  results: [],
  timings: { preprocess_ms: 0, inference_ms: 0, postprocess_ms: 0 },
  cpu_ms: 0,
  rss_bytes: 0,
};

/** A runner whose batches end, and which dies, when the test says so. */
class FakeRunner implements Runner {
  static pids = 0;
  readonly pid = ++FakeRunner.pids;
  readonly loaded = {
    runtime: { name: 'fake', version: '1' },
    execution_provider: 'cpu' as const,
    load_ms: 0,
    warmup_ms: 0,
    rss_bytes: 1000,
  };
  isAlive = true;
  readonly exited: Promise<RunnerExit>;
  readonly sent: SupervisorMessage[] = [];
  die: (cause?: RunnerExit['cause']) => void = () => undefined;

  constructor() {
    this.exited = new Promise((resolve) => {
      this.die = (cause = 'crash') => {
        this.isAlive = false;
        const exit = { cause, code: null, signal: 'SIGKILL', output: '' } as const;
        this.#pipeline.end(new RunnerCrashedError(exit));
        resolve(exit);
      };
    });
  }

  /** The real pipeline: only the process at its end is not there. */
  readonly #pipeline: BatchPipeline = new BatchPipeline({
    send: (message) => void this.sent.push(message),
    kill: (cause) => this.die(cause),
  });

  run(rows: readonly unknown[], options: RunnerBatchOptions): RunnerBatch {
    return this.#pipeline.push(rows, options);
  }

  async probe(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    await this.#pipeline.push(undefined, { timeoutMs, signal }).answer;
  }

  /** Answers the batch whose turn it is, if there is one, by default with as many results as it has rows. */
  finish(error?: Error): void {
    this.answer(error ?? BATCH);
  }

  answer(answer: Error | BatchResult): void {
    for (;;) {
      const asked = this.sent.shift();
      if (!asked) return;
      if (asked.type !== 'run' && asked.type !== 'probe') continue;
      if (this.sent.some((later) => later.type === 'drop' && later.id === asked.id)) {
        this.#pipeline.answered(asked.id, undefined);
        continue;
      }
      const results = asked.type === 'run' ? asked.rows.map(() => SCORED) : [SCORED];
      this.#pipeline.answered(asked.id, answer instanceof Error ? answer : { ...answer, results });
      return;
    }
  }

  kill(cause: RunnerExit['cause']): void {
    this.die(cause);
  }

  stop(): Promise<RunnerExit> {
    this.die('stopped');
    return this.exited;
  }
}

/** Starts fakes; while `failure` is set, starts fail, and while they are held, they last until they are released. */
class FakeStarter {
  readonly runners: FakeRunner[] = [];
  failure: Error | undefined;
  starts = 0;
  isHeld = false;
  #release: () => void = () => undefined;

  release(): void {
    this.isHeld = false;
    this.#release();
  }

  start = async (): Promise<Runner> => {
    this.starts++;
    if (this.isHeld) await new Promise<void>((resolve) => (this.#release = resolve));
    if (this.failure) throw this.failure;
    const runner = new FakeRunner();
    this.runners.push(runner);
    return runner;
  };

  get latest(): FakeRunner {
    return this.runners.at(-1) as FakeRunner;
  }
}

test('each runner has its device, and so has the one that follows it', async () => {
  const starter = new FakeStarter();
  const devices: (number | undefined)[] = [];
  const startRunner: StartRunner = ({ execution }) => {
    devices.push(execution?.deviceId);
    return starter.start();
  };
  const execution: ExecutionPlan = { providers: ['cuda'], fallback: 'none' };
  const pool = poolOf({ startRunner, instances: 3, execution, gpuDevices: [0, 1] });
  await pool.start();
  expect(devices).toEqual([0, 1, 0]);
  starter.runners[1]?.die();
  await until('it is replaced', () => starter.starts === 4);
  expect(devices[3]).toBe(1);
});

test('runs batches at once on idle runners, and in turn after that', async () => {
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, instances: 2 });
  expect(pool.state).toBe('starting');
  await pool.start();
  expect([pool.state, pool.readyCount, pool.idleCount]).toEqual(['ready', 2, 2]);

  const batches = [0, 1, 2, 3].map((row) => pool.run([row]));
  expect([pool.readyCount, pool.idleCount]).toEqual([2, 0]);
  const idle = pool.whenIdle();
  const [first, second] = starter.runners as [FakeRunner, FakeRunner];
  for (const runner of [first, second, second, first]) {
    await settled();
    runner.finish();
  }
  const pids = (await Promise.all(batches)).map(({ runner }) => runner.pid);
  // The runner that became ready last is taken first; the third batch gets the one that is free first, and so on.
  expect(pids).toEqual([second.pid, first.pid, first.pid, second.pid]);
  await idle;
  expect(pool.idleCount).toBe(2);
});

test('refuses a batch when enough of them wait', async () => {
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, maxWaiting: 1 });
  await pool.start();
  const [running, waiting] = [pool.run([]), pool.run([])];
  await expect(pool.run([])).rejects.toMatchObject({
    code: 'model_unavailable',
    message: expect.stringContaining('1 batches'),
  });
  for (const batch of [running, waiting]) {
    await settled();
    starter.latest.finish();
    await batch;
  }
});

test('replaces a dead runner at once, then slower and slower, until a batch succeeds', async () => {
  jest.useFakeTimers();
  const restarts: Restart[] = [];
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, onRestart: (restart) => restarts.push(restart) });
  await pool.start();
  for (let deaths = 1; deaths <= 10; deaths++) {
    const { pid } = starter.latest;
    starter.latest.die(deaths === 2 ? 'timeout' : 'crash');
    await jest.advanceTimersByTimeAsync(0);
    expect(restarts).toHaveLength(deaths);
    const delayMs = restarts.at(-1)?.delayMs ?? 0;
    if (delayMs > 0) {
      await jest.advanceTimersByTimeAsync(delayMs - 1);
      expect(starter.latest.pid).toBe(pid);
      await jest.advanceTimersByTimeAsync(1);
    }
    expect(starter.latest.pid).toBe(pid + 1);
  }
  expect(restarts.map(({ delayMs }) => delayMs)).toEqual([0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  expect(restarts.slice(0, 3).map(({ cause }) => cause)).toEqual(['crash', 'timeout', 'crash']);
  expect(restarts[0]?.detail).toBe('The runner was killed by SIGKILL.');

  const batch = pool.run([]);
  await jest.advanceTimersByTimeAsync(0);
  starter.latest.finish();
  await batch;
  starter.latest.die();
  await jest.advanceTimersByTimeAsync(0);
  expect(restarts.at(-1)?.delayMs).toBe(0);
  expect(pool.state).toBe('ready');
});

test('a model that cannot be loaded any more is tried again seldom, and batches are told', async () => {
  jest.useFakeTimers();
  const restarts: Restart[] = [];
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, readyTimeoutMs: 500, onRestart: (r) => restarts.push(r) });
  await pool.start();
  starter.failure = new RunnerStartError('load_failed', 'other bytes');
  starter.latest.die();
  await jest.advanceTimersByTimeAsync(1);
  expect(pool.state).toBe('backing_off');
  expect(restarts.map(({ cause, detail }) => [cause, detail])).toEqual([
    ['crash', 'The runner was killed by SIGKILL.'],
    ['load_failed', 'other bytes'],
  ]);
  const refused = expect(pool.run([])).rejects.toMatchObject({ code: 'model_unavailable', isRetryable: true });
  await jest.advanceTimersByTimeAsync(500);
  await refused;
  await jest.advanceTimersByTimeAsync(60_000);
  expect(starter.starts).toBeLessThan(20);

  starter.failure = undefined;
  await jest.advanceTimersByTimeAsync(10_000);
  expect(pool.state).toBe('ready');
});

test('a batch that comes while the runner is being replaced is served by the next one', async () => {
  jest.useFakeTimers();
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, readyTimeoutMs: 500 });
  await pool.start();
  starter.latest.die();
  await jest.advanceTimersByTimeAsync(0);
  starter.latest.die();
  await jest.advanceTimersByTimeAsync(0);
  expect(pool.state).toBe('backing_off');
  const batch = pool.run([]);
  await jest.advanceTimersByTimeAsync(100);
  starter.latest.finish();
  expect((await batch).runner.pid).toBe(starter.latest.pid);
});

test('a model that cannot be loaded at first is not tried again, and leaves nothing behind', async () => {
  const starter = new FakeStarter();
  const failure = new RunnerStartError('load_failed', 'other bytes');
  const restarts: Restart[] = [];
  const startRunner = () => (starter.starts === 1 ? Promise.reject(failure) : starter.start());
  const pool = poolOf({ startRunner, instances: 2, onRestart: (restart) => restarts.push(restart) });
  await expect(pool.start()).rejects.toBe(failure);
  expect([pool.state, starter.starts, restarts]).toEqual(['stopped', 1, []]);
  expect(starter.latest.isAlive).toBe(false);
  await expect(pool.run([])).rejects.toMatchObject({ code: 'model_unavailable' });
  await pool.whenIdle();
});

test('stopping lets the running batch end, and refuses who waits', async () => {
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start });
  await pool.start();
  const running = pool.run([]);
  const waiting = expect(pool.run([])).rejects.toMatchObject({ code: 'model_unavailable' });
  await settled();
  const stopped = pool.stop();
  await waiting;
  expect(starter.latest.isAlive).toBe(true);
  starter.latest.finish();
  expect(await running).toMatchObject({ results: [] });
  await stopped;
  expect([pool.state, pool.readyCount, starter.latest.isAlive]).toEqual(['stopped', 0, false]);
});

test('a golden row is run where the batch failed; a runner that answers it stays', async () => {
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, instances: 2 });
  await pool.start();
  const [, second] = starter.runners as [FakeRunner, FakeRunner];
  const batch = pool.run([]);
  await settled();
  second.finish(new RunnerBatchError('inference_failed', 'no'));
  await expect(batch).rejects.toMatchObject({ code: 'inference_failed' });
  const probe = pool.probe();
  await settled();
  expect(pool.idleCount).toBe(1);
  second.finish();
  await probe;
  expect([pool.idleCount, pool.pids]).toEqual([2, starter.runners.map(({ pid }) => pid)]);
});

test('a runner that fails on a golden row is replaced, and the model said to be at fault', async () => {
  const restarts: Restart[] = [];
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, onRestart: (restart) => restarts.push(restart) });
  await pool.start();
  const { pid } = starter.latest;
  const probe = pool.probe();
  await settled();
  starter.latest.finish(new RunnerBatchError('inference_failed', 'no'));
  await expect(probe).rejects.toMatchObject({
    code: 'model_unavailable',
    isRetryable: true,
    message: 'The model fails on a golden row as well: no',
  });
  await settled();
  expect(restarts).toMatchObject([{ cause: 'unsound' }]);
  expect([pool.readyCount, pool.pids]).toEqual([1, [pid + 1]]);
});

test('the next batch waits in the runner, and its turn and deadline begin with the answer to the one before', async () => {
  jest.useFakeTimers();
  const restarts: Restart[] = [];
  const starter = new FakeStarter();
  const pool = poolOf({
    startRunner: starter.start,
    depth: 2,
    batchTimeoutMs: 1000,
    onRestart: (restart) => restarts.push(restart),
  });
  await pool.start();
  const { latest: runner } = starter;
  const turns: number[] = [];
  const batches = [0, 1, 2].map((row) => pool.run([row], { onStart: () => turns.push(row) }));
  await jest.advanceTimersByTimeAsync(0);
  expect(runner.sent).toMatchObject([{ rows: [0] }, { rows: [1] }]);
  expect(turns).toEqual([0]);

  await jest.advanceTimersByTimeAsync(900);
  runner.finish();
  await batches[0];
  await jest.advanceTimersByTimeAsync(0);
  expect(turns).toEqual([0, 1]);
  expect(runner.sent).toMatchObject([{ rows: [1] }, { rows: [2] }]);
  await jest.advanceTimersByTimeAsync(900);
  expect(restarts).toEqual([]);
  runner.finish();
  await batches[1];
  const late = expect(batches[2]).rejects.toThrow(RunnerTimeoutError);
  await jest.advanceTimersByTimeAsync(1001);
  await late;
  expect(restarts).toMatchObject([{ cause: 'timeout' }]);
});

test('a runner that dies takes along the batch whose turn it was, and the next one runs elsewhere', async () => {
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, depth: 2 });
  await pool.start();
  const [dead] = starter.runners as [FakeRunner];
  let turns = 0;
  const culprit = expect(pool.run(['culprit'])).rejects.toThrow(RunnerCrashedError);
  const next = pool.run(['next'], { onStart: () => turns++ });
  const later = pool.run(['later']);
  await settled();
  dead.die();
  await culprit;
  await settled();
  // Before the one that came later, and with a turn of its own.
  expect(starter.latest.sent).toMatchObject([{ rows: ['next'] }, { rows: ['later'] }]);
  expect([starter.latest.pid, turns]).toEqual([dead.pid + 1, 1]);
  starter.latest.finish();
  starter.latest.finish();
  expect(await Promise.all([next, later])).toHaveLength(2);
});

test('a batch that is aborted before its turn costs nobody the runner', async () => {
  const restarts: Restart[] = [];
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, depth: 2, onRestart: (restart) => restarts.push(restart) });
  await pool.start();
  const { latest: runner } = starter;
  const abort = new AbortController();
  const first = pool.run([1]);
  const unwanted = pool.run([2], { signal: abort.signal });
  const third = pool.run([3], { signal: abort.signal });
  await settled();
  abort.abort();
  await expect(unwanted).rejects.toMatchObject({ code: 'canceled' });
  expect(runner.sent.map(({ type }) => type)).toEqual(['run', 'run', 'drop']);
  runner.finish();
  await first;
  const last = pool.run([4]);
  await expect(third).rejects.toMatchObject({ code: 'canceled' });
  await settled();
  runner.finish();
  expect((await last).results).toHaveLength(1);
  expect([restarts, pool.idleCount]).toEqual([[], 1]);
});

test('a runner that becomes idle takes the batch that waits behind another', async () => {
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, instances: 2, depth: 2 });
  await pool.start();
  const [first, second] = starter.runners as [FakeRunner, FakeRunner];
  const hanging = pool.run(['hangs']);
  const short = pool.run(['short']);
  const waiting = pool.run(['waits']);
  await settled();
  expect([second.sent, first.sent]).toMatchObject([[{ rows: ['hangs'] }, { rows: ['waits'] }], [{ rows: ['short'] }]]);
  first.finish();
  await short;
  await settled();
  expect(first.sent).toMatchObject([{ rows: ['waits'] }]);
  first.finish();
  expect((await waiting).runner.pid).toBe(first.pid);

  // Room is there again only when the runner has said so.
  const others = [pool.run(['a']), pool.run(['b'])];
  await settled();
  expect(first.sent).toMatchObject([{ rows: ['a'] }, { rows: ['b'] }]);
  second.finish();
  for (const runner of [first, first, second]) {
    await settled();
    runner.finish();
  }
  await Promise.all([hanging, ...others]);
});

test('a batch that is to be alone shares a runner with no other, and has its turn', async () => {
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, depth: 2 });
  await pool.start();
  const { latest: runner } = starter;
  const batches = [
    pool.run(['a']),
    pool.run(['b']),
    pool.run(['alone'], { isAlone: true }),
    pool.run(['c']),
    pool.run(['d']),
  ];
  const seen: unknown[] = [];
  for (const batch of batches) {
    await settled();
    seen.push(runner.sent.flatMap((message) => (message.type === 'run' ? message.rows : [])));
    runner.finish();
    await batch;
  }
  expect(seen).toEqual([['a', 'b'], ['b'], ['alone'], ['c', 'd'], ['d']]);
});

test('a golden row is run where the batch was refused, alone, though another runner is idle', async () => {
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, instances: 2, depth: 2 });
  await pool.start();
  const [first, second] = starter.runners as [FakeRunner, FakeRunner];
  const long = pool.run(['long']);
  const refused = expect(pool.run(['refused'])).rejects.toThrow(RunnerBatchError);
  await settled();
  expect(first.sent).toMatchObject([{ rows: ['refused'] }]);
  const behind = [pool.run(['x']), pool.run(['y'])];
  await settled();
  expect(first.sent).toMatchObject([{ rows: ['refused'] }, { rows: ['y'] }]);
  first.finish(new RunnerBatchError('inference_failed', 'no'));
  await refused;
  const probe = pool.probe();
  second.finish();
  await long;
  await settled();
  second.finish();
  await behind[0];
  expect([first.sent.map(({ type }) => type), pool.idleCount]).toEqual([['run'], 1]);
  first.finish();
  await behind[1];
  await settled();
  expect(first.sent.map(({ type }) => type)).toEqual(['probe']);
  first.finish();
  await probe;
  expect(pool.idleCount).toBe(2);
});

test('a runner whose successor is ready gets no second batch, so that it comes to be empty', async () => {
  const restarts: Restart[] = [];
  const starter = new FakeStarter();
  const pool = poolOf({
    startRunner: starter.start,
    depth: 2,
    maxBatches: 1,
    onRestart: (restart) => restarts.push(restart),
  });
  await pool.start();
  const { latest: old } = starter;
  const batches = [1, 2, 3, 4].map((row) => pool.run([row]));
  await settled();
  old.finish();
  await batches[0];
  await settled();
  expect([starter.starts, restarts.length]).toEqual([2, 0]);
  expect(old.sent).toMatchObject([{ rows: [2] }, { rows: [3] }]);
  old.finish();
  await batches[1];
  expect(old.sent).toMatchObject([{ rows: [3] }]);
  old.finish();
  await batches[2];
  await settled();
  expect([restarts.map(({ cause }) => cause), old.isAlive]).toEqual([['recycled'], false]);
  starter.latest.finish();
  await batches[3];
});

const withMemory = (rss_bytes: number) => ({ ...BATCH, rss_bytes });

test('a worn runner goes on until the next one is ready, which takes over between two batches', async () => {
  const restarts: Restart[] = [];
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, maxBatches: 2, onRestart: (restart) => restarts.push(restart) });
  await pool.start();
  const old = starter.latest;
  const pids: number[] = [];
  /** Its end is up to whoever called. */
  const runBatch = async () => {
    const batch = pool.run([]).then(({ runner }) => pids.push(runner.pid));
    await settled();
    const end = async (runner: FakeRunner) => {
      runner.finish();
      await batch;
    };
    return { end };
  };
  await (await runBatch()).end(old);
  starter.isHeld = true;
  await (await runBatch()).end(old);
  expect(starter.starts).toBe(2);
  await (await runBatch()).end(old);
  expect([pool.idleCount, restarts.length]).toEqual([1, 0]);

  // Ready in the middle of a batch, it waits for its end.
  const { end } = await runBatch();
  starter.release();
  await settled();
  expect([old.isAlive, restarts.length]).toEqual([true, 0]);
  await end(old);
  expect(restarts).toMatchObject([{ cause: 'recycled', detail: 'The runner had computed 2 batches.', delayMs: 0 }]);
  expect([pool.readyCount, pool.idleCount, old.isAlive]).toEqual([1, 1, false]);
  await (await runBatch()).end(starter.latest);
  expect(pids).toEqual([old.pid, old.pid, old.pid, old.pid, old.pid + 1]);
});

test('an idle runner that is worn is taken over from at once, and one that dies is followed by its successor', async () => {
  const restarts: Restart[] = [];
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, maxBatches: 1, onRestart: (restart) => restarts.push(restart) });
  await pool.start();
  const compute = async () => {
    const batch = pool.run([]);
    await settled();
    starter.runners.find(({ pid }) => pid === pool.pids[0])?.finish();
    await batch;
    await settled();
  };
  await compute();
  expect([pool.pids, pool.idleCount]).toEqual([[starter.latest.pid], 1]);

  starter.isHeld = true;
  const old = starter.latest;
  await compute();
  old.die();
  await settled();
  expect([pool.readyCount, pool.state]).toEqual([0, 'backing_off']);
  const waiting = pool.run([]);
  starter.release();
  await settled();
  starter.latest.finish();
  expect((await waiting).runner.pid).toBe(old.pid + 1);
  expect(restarts.slice(0, 2).map(({ cause }) => cause)).toEqual(['recycled', 'crash']);
});

test('a worn runner that dies with its last batch is counted as dead, and followed at once', async () => {
  const restarts: Restart[] = [];
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, maxBatches: 1, onRestart: (restart) => restarts.push(restart) });
  await pool.start();
  const [old] = starter.runners as [FakeRunner];
  const worn = pool.run([]);
  await settled();
  old.finish();
  const last = pool.run([]);
  await worn;
  await settled();
  expect([starter.starts, old.isAlive]).toEqual([2, true]);
  old.die();
  await expect(last).rejects.toThrow(RunnerCrashedError);
  await settled();
  expect(restarts.map(({ cause }) => cause)).toEqual(['crash']);
  expect([pool.readyCount, pool.idleCount, pool.pids]).toEqual([1, 1, [starter.latest.pid]]);
});

test('a runner that cannot be replaced stays, and is not tried to be replaced all the time', async () => {
  jest.useFakeTimers();
  const restarts: Restart[] = [];
  const starter = new FakeStarter();
  const pool = poolOf({
    startRunner: starter.start,
    maxMemoryBytes: 100,
    onRestart: (restart) => restarts.push(restart),
  });
  await pool.start();
  const compute = async (rssBytes: number) => {
    const batch = pool.run([]);
    await jest.advanceTimersByTimeAsync(0);
    starter.latest.answer(withMemory(rssBytes));
    await batch;
    await jest.advanceTimersByTimeAsync(0);
  };
  expect(pool.memoryHeadroomBytes).toBeUndefined();
  await compute(70);
  expect(pool.memoryHeadroomBytes).toBe(30);
  await compute(100);
  expect([starter.starts, pool.memoryHeadroomBytes]).toEqual([1, 0]);
  starter.failure = new RunnerStartError('load_failed', 'other bytes');
  for (let batch = 0; batch < 5; batch++) await compute(101);
  expect([starter.starts, pool.readyCount, pool.idleCount]).toEqual([2, 1, 1]);

  starter.failure = undefined;
  await jest.advanceTimersByTimeAsync(10_000);
  for (let batch = 0; batch < 5; batch++) await compute(101);
  expect(starter.starts).toBe(3);
  expect(restarts).toMatchObject([
    { cause: 'load_failed', delayMs: 10_000 },
    { cause: 'memory', detail: 'The runner had grown to 101 bytes.', delayMs: 0 },
  ]);
});

test('runners are recycled one after the other, and stopping ends those that wait to take over', async () => {
  const starter = new FakeStarter();
  const pool = poolOf({ startRunner: starter.start, instances: 2, maxBatches: 1 });
  await pool.start();
  const batches = [pool.run([]), pool.run([])];
  await settled();
  for (const runner of starter.runners.slice(0, 2)) runner.finish();
  await Promise.all(batches);
  expect(starter.starts).toBe(3);
  const held = [pool.run([]), pool.run([])];
  await settled();
  const stopped = pool.stop();
  for (const runner of starter.runners) runner.finish();
  await Promise.all([...held, stopped]);
  expect(starter.runners.filter(({ isAlive }) => isAlive)).toEqual([]);
});

test('real runners: recycled after some batches and for their memory, while batches go on', async () => {
  const linear = await writeLinearModel({ dir, name: 'recycled', version: '1' });
  for (const [cause, limits] of [
    ['recycled', { maxBatches: 3 }],
    ['memory', { maxMemoryBytes: 1 }],
  ] as const) {
    const restarts: string[] = [];
    const pool = poolOf({
      ...linear,
      ...limits,
      env: process.env,
      onRestart: (restart) => restarts.push(restart.cause),
    });
    await pool.start();
    const [first] = pool.pids as [number];
    let x0 = 0;
    while (restarts.length === 0) {
      expect((await pool.run([{ x0, x1: 0, x2: 0 }])).results).toEqual([
        { status: 'succeeded', output: { score: x0++ } },
      ]);
      expect(pool.readyCount).toBe(1);
    }
    expect(restarts[0]).toBe(cause);
    expect(pool.pids).not.toContain(first);
    await pool.stop();
    expect(() => process.kill(first, 0)).toThrow('ESRCH');
  }
});

test('real runners: a golden row, and one that is not answered', async () => {
  const restarts: string[] = [];
  const pool = poolOf({ env: process.env, batchTimeoutMs: 300, onRestart: ({ cause }) => restarts.push(cause) });
  await pool.start();
  const [pid] = pool.pids as [number];
  await pool.probe();
  expect(pool.pids).toEqual([pid]);

  process.kill(pid, 'SIGSTOP');
  await expect(pool.probe()).rejects.toMatchObject({ code: 'model_unavailable' });
  await pool.probe();
  expect(restarts).toHaveLength(1);
  expect(pool.pids).not.toContain(pid);
});

test('real runners: one that was stopped while it was idle is replaced before a batch meets it', async () => {
  const restarts: string[] = [];
  const replaced = new Promise<void>((resolve) => {
    const pool = poolOf({
      env: process.env,
      heartbeat: { intervalMs: 20, timeoutMs: 1000 },
      onRestart: ({ cause }) => {
        restarts.push(cause);
        resolve(pool.whenIdle());
      },
    });
    void pool.start().then(() => process.kill(pool.pids[0] as number, 'SIGSTOP'));
  });
  await replaced;
  expect(restarts).toEqual(['silent']);
  expect((await (pools[0] as RunnerPool).run([{ steps: 2 }])).results).toHaveLength(1);
});

test('real runners: a kill, a hang, and the batches after them', async () => {
  const restarts: string[] = [];
  const pool = poolOf({ env: process.env, onRestart: ({ cause }) => restarts.push(cause) });
  await pool.start();
  expect(pool.loaded?.runtime.name).toBe('onnxruntime-node');

  const held = pool.run([{ steps: HANGING_STEPS }]);
  process.kill(pool.pids[0] as number, 'SIGKILL');
  await expect(held).rejects.toThrow(RunnerCrashedError);
  const scoreOf = async (steps: number) => (await pool.run([{ steps }])).results;
  expect(await scoreOf(2)).toEqual([{ status: 'succeeded', output: { score: 2 } }]);

  await expect(pool.run([{ steps: HANGING_STEPS }], { timeoutMs: 50 })).rejects.toThrow(RunnerTimeoutError);
  expect(await scoreOf(3)).toEqual([{ status: 'succeeded', output: { score: 3 } }]);
  expect(restarts).toEqual(['crash', 'timeout']);
});

test('real runners: several compute at the same time', async () => {
  const pool = poolOf({
    ...(await writeLinearModel({ dir, name: 'sum', version: '1' })),
    instances: 2,
    env: process.env,
  });
  await pool.start();
  const batches = await Promise.all([1, 2].map((x0) => pool.run([{ x0, x1: 0, x2: 0 }])));
  expect(new Set(batches.map(({ runner }) => runner.pid))).toEqual(new Set(pool.pids));
});

/** After everything that is due without a timer. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
