import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { access, appendFile, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { balloonModel, writeScore } from '../../../../test/support/models/hostile-models.ts';
import type { WrittenModel } from '../../../../test/support/models/model-folder.ts';
import {
  HANGING_STEPS,
  writeCrashModel,
  writeHungryModel,
  writeLinearModel,
  writeLookupModel,
  writeSequenceModel,
  writeSlowModel,
  writeSwellingModel,
} from '../../../../test/support/models/tiny-models.ts';
import { MODEL_FILE_POLICY } from '../models/model-file-policy.ts';
import {
  RunnerAbortedError,
  RunnerBatchError,
  RunnerCrashedError,
  RunnerRecalledError,
  RunnerStartError,
  RunnerTimeoutError,
} from './runner-errors.ts';
import { RunnerProcess, type RunnerProcessOptions } from './runner-process.ts';

let dir: string;
let linear: WrittenModel;
let slow: WrittenModel;
const started: RunnerProcess[] = [];
const LONG_MS = 30_000;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-process-'));
  linear = await writeLinearModel({ dir, name: 'linear', version: '1' });
  slow = await writeSlowModel({ dir, name: 'slow', version: '1' });
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((runner) => runner.stop()));
});
afterAll(() => rm(dir, { recursive: true }));

async function start(model: WrittenModel, options: Partial<RunnerProcessOptions> = {}): Promise<RunnerProcess> {
  const env = { PATH: process.env.PATH, REDIS_URL: 'redis://:secret@nowhere' };
  const runner = await RunnerProcess.start({
    ...model,
    intraOpNumThreads: 1,
    startTimeoutMs: LONG_MS,
    env,
    ...options,
  });
  started.push(runner);
  return runner;
}

function run(runner: RunnerProcess, rows: unknown[], timeoutMs = LONG_MS) {
  return runner.run(rows, { timeoutMs }).answer;
}

test('loads the model in a process of its own, and computes batches there', async () => {
  const runner = await start(linear);
  expect(runner.pid).not.toBe(process.pid);
  expect(runner.loaded).toMatchObject({
    runtime: { name: 'onnxruntime-node', version: expect.stringMatching(/^1\./) },
    execution_provider: 'cpu',
  });
  const { results, timings, cpu_ms, rss_bytes } = await run(runner, [{ x0: 1, x1: 2, x2: 3 }, { x0: 1 }]);
  expect(results).toEqual([
    { status: 'succeeded', output: { score: 6 } },
    { status: 'failed', error: { code: 'invalid_row', detail: 'Field "x1" is missing.', pointer: '/x1' } },
  ]);
  expect(timings.inference_ms).toBeGreaterThan(0);
  expect(cpu_ms).toBeGreaterThan(0);
  expect(rss_bytes).toBeGreaterThan(10e6);
  expect(await runner.stop()).toMatchObject({ cause: 'stopped', code: 0 });
});

test('is told nothing of the environment that it does not need', async () => {
  const runner = await start(linear);
  const environment = await readFile(`/proc/${runner.pid}/environ`, 'latin1');
  const names = environment.split('\0').map((variable) => variable.split('=')[0]);
  expect(names).toContain('PATH');
  expect(names).not.toContain('REDIS_URL');
});

test('a batch that the engine refuses leaves the runner alive', async () => {
  const runner = await start(await writeLookupModel({ dir, name: 'lookup', version: '1' }));
  const refused = run(runner, [{ index: 99 }]);
  await expect(refused).rejects.toThrow(RunnerBatchError);
  await expect(refused).rejects.toMatchObject({ code: 'inference_failed', isRetryable: false });
  expect(runner.isAlive).toBe(true);
  expect((await run(runner, [{ index: 2 }])).results).toHaveLength(1);
});

test('a batch that does not fit into memory leaves the runner alive', async () => {
  const runner = await start(await writeHungryModel({ dir, name: 'hungry', version: '1', memory: 3 }));
  const refused = run(runner, [{ size: 1 }, { size: 3 }]);
  await expect(refused).rejects.toThrow(RunnerBatchError);
  await expect(refused).rejects.toMatchObject({ code: 'out_of_memory', isRetryable: true });
  expect((await run(runner, [{ size: 1 }, { size: 2 }])).results).toHaveLength(2);
});

test('answers that are too large together are for smaller batches, and one that is too large alone fails alone', async () => {
  const model = await writeSequenceModel({ dir, name: 'sequence', version: '1' });
  // The golden row answers six: two lists, their four numbers, and one for the whole.
  const runner = await start(model, { filePolicy: { ...MODEL_FILE_POLICY, maxOutputValues: 10 } });
  const row = (tokens: number) => ({ tokens: Array(tokens).fill(1) });
  expect((await run(runner, [row(6)])).results).toMatchObject([{ status: 'succeeded' }]);
  expect((await run(runner, [row(1), row(7)])).results).toMatchObject([
    { status: 'succeeded' },
    { status: 'failed', error: { code: 'output_too_large' } },
  ]);
  await expect(run(runner, [row(3), row(3)])).rejects.toMatchObject({ code: 'out_of_memory' });
  expect(runner.isAlive).toBe(true);
});

test('a runner that sends what no runner sends is ended, and its supervisor goes on', async () => {
  const entry = join(dir, 'nonsense.mjs');
  await writeFile(entry, `process.on('message', () => process.send({ type: 'result', id: 'no number' }));`);
  const started = start(linear, { entry });
  await expect(started).rejects.toThrow(RunnerStartError);
  await expect(started).rejects.toThrow('It sent what no runner sends.');
});

const MEMORY_LIMIT_BYTES = 512 * 1024 ** 2;
// Elsewhere nobody says how much memory a process has.
const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux('a batch that takes more memory than a runner may is ended with it, and the exit says so', async () => {
  const model = await writeSwellingModel({ dir, name: 'swelling', version: '1' });
  const runner = await start(model, { memoryLimitBytes: MEMORY_LIMIT_BYTES });
  expect((await run(runner, [{ size: 1000 }])).results).toHaveLength(1);
  await expect(run(runner, [{ size: 1_000_000_000 }])).rejects.toThrow(RunnerCrashedError);
  expect(await runner.exited).toMatchObject({
    cause: 'memory',
    signal: 'SIGKILL',
    output: expect.stringMatching(/It had taken \d+ bytes of memory, more than 536870912/),
  });
});

onLinux('a model that takes more memory than a runner may while it loads is given up', async () => {
  const model = await writeScore({ dir, name: 'balloon', version: '1' }, balloonModel());
  const started = start(model, { memoryLimitBytes: MEMORY_LIMIT_BYTES });
  await expect(started).rejects.toThrow(RunnerStartError);
  await expect(started).rejects.toThrow('(ONQUEUE_RUNNER_MEMORY_LIMIT_BYTES)');
  await expect(started).rejects.toMatchObject({ reason: 'load_failed' });
});

onLinux('when memory runs out, the kernel ends a runner before its supervisor', async () => {
  const runner = await start(linear);
  const score = async (pid: number | 'self') => Number(await readFile(`/proc/${pid}/oom_score_adj`, 'utf8'));
  expect(await score(runner.pid)).toBeGreaterThan(await score('self'));
});

test('a batch that hangs in the engine is ended at its deadline, with the runner', async () => {
  const runner = await start(slow);
  await expect(run(runner, [{ steps: HANGING_STEPS }], 100)).rejects.toThrow(RunnerTimeoutError);
  expect(runner.isAlive).toBe(false);
  expect(await runner.exited).toMatchObject({ cause: 'timeout', signal: 'SIGKILL' });
});

test('a runner that stands still between batches is found and ended', async () => {
  const runner = await start(linear, { heartbeat: { intervalMs: 20, timeoutMs: 200 } });
  await run(runner, [{ x0: 1, x1: 2, x2: 3 }]);
  process.kill(runner.pid, 'SIGSTOP');
  expect(await runner.exited).toMatchObject({ cause: 'silent', signal: 'SIGKILL' });
});

test('a runner that is busy has its batch, whose deadline holds, and answers pings after it', async () => {
  const runner = await start(slow, { heartbeat: { intervalMs: 5, timeoutMs: 1500 } });
  expect((await run(runner, [{ steps: 100 }])).results).toHaveLength(1);
  expect((await run(runner, [{ steps: 2 }])).results).toHaveLength(1);
  await expect(run(runner, [{ steps: HANGING_STEPS }], 2000)).rejects.toThrow(RunnerTimeoutError);
  expect(await runner.exited).toMatchObject({ cause: 'timeout' });
});

test('computes the batches that it holds in their order, each within its own time', async () => {
  const runner = await start(slow);
  const turns: number[] = [];
  const answers: number[] = [];
  const batches = [60, 2, 40].map((steps) => {
    const batch = runner.run([{ steps }], { timeoutMs: LONG_MS, onStart: () => turns.push(steps) });
    void batch.answer.then(() => answers.push(steps));
    return batch;
  });
  expect(turns).toEqual([60]);
  await Promise.all(batches.map(({ over }) => over));
  expect([turns, answers]).toEqual([
    [60, 2, 40],
    [60, 2, 40],
  ]);
});

test('a batch that hangs is ended at its deadline, and the one behind it has never begun', async () => {
  const runner = await start(slow);
  const hanging = runner.run([{ steps: HANGING_STEPS }], { timeoutMs: 100 });
  const next = runner.run([{ steps: 1 }], { timeoutMs: 1, onStart: () => turns.push('next') });
  const turns: string[] = [];
  const recalled = expect(next.answer).rejects.toThrow(RunnerRecalledError);
  await expect(hanging.answer).rejects.toThrow(RunnerTimeoutError);
  await recalled;
  await next.over;
  expect([await runner.exited, turns]).toMatchObject([{ cause: 'timeout' }, []]);
});

test('a batch that is taken back before its turn is not computed, nor is one that is aborted', async () => {
  const runner = await start(slow);
  const abort = new AbortController();
  // So long that the others are taken back while it runs, though this process has to wait for a processor.
  const first = runner.run([{ steps: 1500 }], { timeoutMs: LONG_MS });
  const recalled = runner.run([{ steps: HANGING_STEPS }], { timeoutMs: LONG_MS });
  const aborted = runner.run([{ steps: HANGING_STEPS }], { timeoutMs: LONG_MS, signal: abort.signal });
  const last = runner.run([{ steps: 3 }], { timeoutMs: LONG_MS });
  expect([first.recall(), recalled.recall(), recalled.recall()]).toEqual([false, true, false]);
  abort.abort();
  await expect(recalled.answer).rejects.toThrow(RunnerRecalledError);
  await expect(aborted.answer).rejects.toThrow(RunnerAbortedError);
  expect((await last.answer).results).toEqual([{ status: 'succeeded', output: { score: 3 } }]);
  await expect(first.answer).resolves.toMatchObject({ results: [{ status: 'succeeded' }] });
  expect(runner.isAlive).toBe(true);
});

test('a runner that is killed fails the batch that it held', async () => {
  const runner = await start(slow);
  const batch = run(runner, [{ steps: HANGING_STEPS }]);
  process.kill(runner.pid, 'SIGKILL');
  await expect(batch).rejects.toThrow(RunnerCrashedError);
  await expect(batch).rejects.toMatchObject({ code: 'runner_crashed', exit: { cause: 'crash', signal: 'SIGKILL' } });
  await expect(run(runner, [{ steps: 0 }])).rejects.toThrow(RunnerRecalledError);
});

test('a row that kills the process is no more than a crashed runner', async () => {
  const runner = await start(await writeCrashModel({ dir, name: 'crash', version: '1' }));
  const batch = run(runner, [{ divisor: 1 }, { divisor: -1 }]);
  await expect(batch).rejects.toMatchObject({ code: 'runner_crashed', exit: { signal: 'SIGFPE' } });
});

test('signals to the whole group do not end a runner', async () => {
  const runner = await start(linear);
  process.kill(runner.pid, 'SIGINT');
  process.kill(runner.pid, 'SIGTERM');
  const { results } = await run(runner, [{ x0: 1, x1: 1, x2: 1 }]);
  expect(results).toHaveLength(1);
});

test('has an empty folder of its own, and leaves none behind', async () => {
  const [runner, other] = [await start(linear), await start(linear)];
  const folder = await readlink(`/proc/${runner.pid}/cwd`);
  expect(folder).not.toBe(await readlink(`/proc/${other.pid}/cwd`));
  await run(runner, [{ x0: 1, x1: 2, x2: 3 }]);
  expect(await readdir(folder)).toEqual([]);
  await runner.stop();
  await expect(access(folder)).rejects.toThrow('ENOENT');
});

test.each<[string, (model: WrittenModel) => Promise<unknown>, string]>([
  [
    'another artifact than the manifest names',
    ({ folder }) => appendFile(join(folder, 'model.onnx'), 'x'),
    'the manifest says',
  ],
  [
    'golden rows that it answers otherwise',
    ({ folder }) =>
      writeFile(
        join(folder, 'golden.jsonl'),
        [0, 1, 5, 2]
          .map((score) => `{"input":{"x0":${score},"x1":0,"x2":0},"output":{"score":${score % 5}}}\n`)
          .join(''),
      ),
    '1 of 4 golden rows differ by more than is tolerated; the worst is that of line 3, at /score: expected 0, got 5, with a tolerance of 0.00001.',
  ],
  [
    'golden rows that it cannot read',
    ({ folder }) => writeFile(join(folder, 'golden.jsonl'), '{"input":{"x0":1},"output":{"score":1}}\n'),
    'the worst is that of line 1, at /: expected {"score":1}, got {"code":"invalid_row"',
  ],
  ['no golden rows', ({ folder }) => rm(join(folder, 'golden.jsonl')), 'ENOENT'],
])('refuses to load %s, and says so', async (_, damage, detail) => {
  const model = await writeLinearModel({ dir, name: 'damaged', version: '1' });
  await damage(model);
  const starting = start(model);
  await expect(starting).rejects.toThrow(RunnerStartError);
  await expect(starting).rejects.toMatchObject({
    reason: 'load_failed',
    code: 'model_unavailable',
    message: expect.stringContaining(detail),
  });
});

test('gives up on a runner that is not ready in time, or that dies while it loads', async () => {
  await expect(start(linear, { startTimeoutMs: 1 })).rejects.toMatchObject({ reason: 'timeout' });
  await expect(start(linear, { entry: join(dir, 'none.js') })).rejects.toMatchObject({
    reason: 'crash',
    message: expect.stringContaining('Cannot find module'),
  });
  await expect(start(linear, { signal: AbortSignal.abort() })).rejects.toThrow('was given up');
});

// The supervisor of this fixture runs the built code, and prints the pid of its runner once that is ready or hangs.
const SUPERVISOR = `
  import { readFileSync } from 'node:fs';
  import { setImmediate } from 'node:timers/promises';
  const [{ RunnerProcess }, model, rows] = [await import(process.argv[1]), ...process.argv.slice(2).map((a) => JSON.parse(a))];
  const runner = await RunnerProcess.start({ ...model, intraOpNumThreads: 1, startTimeoutMs: 30000, env: process.env });
  const ticks = () => Number(readFileSync('/proc/' + runner.pid + '/stat', 'latin1').split(' ')[13]);
  if (rows) {
    runner.run(rows, { timeoutMs: 600000 });
    // A few ticks of 10 ms more than it has: inside the engine.
    for (const before = ticks(); ticks() < before + 5; ) await setImmediate();
  }
  console.log(runner.pid);
`;

let supervisor: ChildProcess | undefined;
let orphan: number | undefined;
afterEach(() => {
  supervisor?.kill('SIGKILL');
  if (orphan && isRunning(orphan)) process.kill(orphan, 'SIGKILL');
  supervisor = orphan = undefined;
});

test.each<[string, unknown[] | null]>([
  ['idle', null],
  ['hanging in the engine', [{ steps: HANGING_STEPS }]],
])('a runner that is %s does not outlive its supervisor', async (_, rows) => {
  const built = fileURLToPath(new URL('../../dist/runner/runner-process.js', import.meta.url));
  const args = [built, JSON.stringify(slow), JSON.stringify(rows)];
  supervisor = spawn(process.execPath, ['--input-type=module', '--eval', SUPERVISOR, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(supervisor.stdout as NonNullable<ChildProcess['stdout']>, 'data');
  const pid = Number(String(line));
  orphan = pid;
  const folder = await readlink(`/proc/${pid}/cwd`);
  supervisor.kill('SIGKILL');
  // It is nobody's child any more that could be waited for; the test's own limit bounds this.
  while (isRunning(pid)) await nextTurn();
  await expect(access(folder)).rejects.toThrow('ENOENT');
});

/** A zombie has ended: who waits for it is not our business. */
function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
