import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { startPlatform } from '@onqueue/launcher';
import { writeCrashModel, writeLoopModel } from '../../../test/support/models/tiny-models.ts';
import { type Bench, type BenchContext, type Figures, MeasurementError } from '../bench.ts';
import { type BenchChild, forkBenchChild } from '../bench-child.ts';
import { joinNoises, NoiseControl } from '../control/noise-control.ts';
import { JobClient, jobOf } from '../job-client.ts';
import { type LoadOrder, type LoadReport, loadReport } from '../load-generator/load-protocol.ts';
import { temporaryModelsDir } from '../models/temporary-models-dir.ts';
import { AS_DECLARED, MODEL, MODEL_FOLDER, readWorkload, VERSION } from '../workload.ts';

/** About a fifth of what two cores take one by one over HTTP. */
const RATE_PER_S = 200;
/** Twelve of them lie above the 99th percentile. */
const JOBS = 1200;
const WARM_UP_JOBS = 2000;
const WARM_UP_RATE_PER_S = 400;
const TIMEOUT_MS = 30_000;
const MAX_IN_FLIGHT = 512;
const MAX_LAG_P99_MS = 8;

/** The neighbour's jobs: as many as keep its runner busy four fifths of the time while it is healthy. */
const NEIGHBOUR_PER_S = 20;
const NEIGHBOUR_JOB_MS = 40;
/** Four times what the neighbour can do: its queue grows for as long as it lasts. */
const FLOOD_PER_S = 5 * NEIGHBOUR_PER_S;
/** It begins before what is measured and outlasts it. */
const NEIGHBOUR_S = JOBS / RATE_PER_S + 2;
/** Nobody wants the neighbour's jobs of one arm in the next. */
const NEIGHBOUR_WAIT = { expires_in: 2, timeout: 4 };
const TRIAL_STEPS = 100_000;

/** What goes on beside the healthy model while its latency is measured. */
type Arm = 'busy' | 'crash' | 'hang' | 'flood';
const ARMS: readonly Arm[] = ['busy', 'crash', 'hang', 'flood'];

const ENV = {
  ONQUEUE_MODELS: `${MODEL},busy,crash,hang`,
  ONQUEUE_LOG_LEVEL: 'silent',
  // A hanging row costs its runner's life some times in an arm, not once.
  ONQUEUE_BATCH_TIMEOUT_MS: '1000',
  ...AS_DECLARED,
};

/** Whether a model that fails, or has more to do than it can, costs a healthy one more than a model that works. */
export const isolationBench: Bench = {
  name: 'isolation',
  summary: `${RATE_PER_S} jobs/s of a healthy model, open loop, beside one that is busy, crashes, hangs, or is flooded`,
  figures: {
    p99_ratio: 'healthy p99 beside the worse of the failing neighbours / beside the busy one',
    crash_ratio: 'beside one that crashes on every row / beside the busy one',
    hang_ratio: 'beside one that hangs on every row / beside the busy one',
    flood_ratio: 'beside one that gets four times what it can do / beside the busy one',
    busy_p99_ms: 'healthy model, from the intended time of POST /jobs to the result by long poll',
    crash_p99_ms: '',
    hang_p99_ms: '',
    flood_p99_ms: '',
    busy_p50_ms: '',
    crash_p50_ms: '',
    hang_p50_ms: '',
    flood_p50_ms: '',
    errors: 'jobs of the healthy model that did not succeed',
  },
  async prepare({ cleanup, signal }) {
    const rows = await readWorkload();
    const modelsDir = await writeModels(cleanup);
    const platform = await startPlatform({ inheritEnv: false, env: ENV, modelsDir, signal });
    cleanup.add(() => platform.stop());
    const [healthy, neighbour] = [forkGenerator(cleanup), forkGenerator(cleanup)];
    const bodies = rows.map(({ input }) => JSON.stringify({ model: MODEL, version: VERSION, input }));
    const common = { baseUrl: platform.baseUrl, maxInFlight: MAX_IN_FLIGHT, timeoutMs: TIMEOUT_MS };
    const neighbours = neighbourBodies(await stepsFor(platform.baseUrl, NEIGHBOUR_JOB_MS));
    const send = (count: number, seed: number, ratePerS = RATE_PER_S) =>
      generate(healthy, { ...common, bodies, count, seed, ratePerS });

    await send(WARM_UP_JOBS, 0, WARM_UP_RATE_PER_S);
    const control = new NoiseControl();
    return async (round) => {
      control.begin();
      const reports = {} as Record<Arm, LoadReport>;
      for (const arm of inTurn(round)) {
        const ratePerS = arm === 'flood' ? FLOOD_PER_S : NEIGHBOUR_PER_S;
        const disturbance = generate(neighbour, {
          ...common,
          bodies: [neighbours[arm]],
          count: ratePerS * NEIGHBOUR_S,
          seed: round,
          ratePerS,
        });
        // Its circuit, if it has one to open, opens before: what is measured is how one lives beside it.
        await new Promise((resolve) => setTimeout(resolve, 1000));
        const report = await send(JOBS, round);
        const { succeeded } = await disturbance;
        if (report.succeeded === 0) throw new MeasurementError(`No job succeeded: ${report.firstError}`);
        if (arm === 'busy' && succeeded === 0) throw new MeasurementError('The busy neighbour is not healthy.');
        reports[arm] = report;
      }
      const lagMs = Math.max(...ARMS.map((arm) => reports[arm].lagMs.p99));
      const lag = lagMs > MAX_LAG_P99_MS ? `generator lag p99 ${lagMs.toFixed(1)} ms` : undefined;
      return { figures: figuresOf(reports), noise: joinNoises([control.end(), lag]) };
    };
  },
};

/** The healthy model and the neighbours, in one repository. */
async function writeModels(cleanup: BenchContext['cleanup']): Promise<string> {
  const dir = await temporaryModelsDir(cleanup);
  await writeCrashModel({ dir, name: 'crash', version: '1', batching: { max_batch_size: 8 } });
  await writeLoopModel({ dir, name: 'busy', version: '1', batching: { max_batch_size: 1 } });
  await writeLoopModel({ dir, name: 'hang', version: '1', batching: { max_batch_size: 1 } });
  await cp(MODEL_FOLDER, join(dir, MODEL, VERSION), { recursive: true });
  return dir;
}

function forkGenerator(cleanup: BenchContext['cleanup']): BenchChild {
  return forkBenchChild(new URL('../load-generator/load-generator-main.js', import.meta.url), cleanup);
}

function generate(generator: BenchChild, order: LoadOrder): Promise<LoadReport> {
  const scheduleMs = (order.count / order.ratePerS) * 1000;
  return generator.ask(order, loadReport, 2 * scheduleMs + 2 * order.timeoutMs);
}

/** How many steps of a loop take that long here. */
async function stepsFor(baseUrl: string, ms: number): Promise<number> {
  const client = new JobClient({ baseUrl, maxSockets: 1, timeoutMs: TIMEOUT_MS });
  try {
    const body = JSON.stringify({ model: 'busy', input: { steps: TRIAL_STEPS } });
    let fastestMs = Number.POSITIVE_INFINITY;
    for (let trial = 0; trial < 5; trial++) {
      const { timings } = jobOf(await client.result(await client.post(body)));
      fastestMs = Math.min(fastestMs, timings?.inference_ms ?? fastestMs);
    }
    return Math.round((TRIAL_STEPS * ms) / fastestMs);
  } finally {
    client.close();
  }
}

function neighbourBodies(steps: number): Record<Arm, string> {
  const bodyOf = (model: string, input: object) => JSON.stringify({ model, input, ...NEIGHBOUR_WAIT });
  return {
    busy: bodyOf('busy', { steps }),
    flood: bodyOf('busy', { steps }),
    crash: bodyOf('crash', { divisor: -1 }),
    hang: bodyOf('hang', { steps: Number.MAX_SAFE_INTEGER }),
  };
}

/** Every arm comes first in turn. */
function inTurn(round: number): Arm[] {
  const first = round % ARMS.length;
  return [...ARMS.slice(first), ...ARMS.slice(0, first)];
}

function figuresOf({ busy, crash, hang, flood }: Record<Arm, LoadReport>): Figures {
  const ratioOf = ({ latencyMs }: LoadReport) => latencyMs.p99 / busy.latencyMs.p99;
  const [crashRatio, hangRatio] = [ratioOf(crash), ratioOf(hang)];
  return {
    p99_ratio: Math.max(crashRatio, hangRatio),
    crash_ratio: crashRatio,
    hang_ratio: hangRatio,
    flood_ratio: ratioOf(flood),
    busy_p99_ms: busy.latencyMs.p99,
    crash_p99_ms: crash.latencyMs.p99,
    hang_p99_ms: hang.latencyMs.p99,
    flood_p99_ms: flood.latencyMs.p99,
    busy_p50_ms: busy.latencyMs.p50,
    crash_p50_ms: crash.latencyMs.p50,
    hang_p50_ms: hang.latencyMs.p50,
    flood_p50_ms: flood.latencyMs.p50,
    errors: busy.errors + crash.errors + hang.errors + flood.errors,
  };
}
