import { startPlatform } from '@onqueue/launcher';
import { type Bench, type BenchContext, type Figures, MeasurementError } from '../bench.ts';
import { forkBenchChild } from '../bench-child.ts';
import { joinNoises, NoiseControl } from '../control/noise-control.ts';
import { type LoadOrder, type LoadReport, loadReport } from '../load-generator/load-protocol.ts';
import { mlpRow, writeMlpModel } from '../models/mlp-model.ts';
import { temporaryModelsDir } from '../models/temporary-models-dir.ts';

const RATE_PER_S = 800;
const BATCHED_S = 60;
/** Long enough to see that most of it is never answered. */
const SINGLE_S = 10;
const BATCHED = 'mlp-batched';
const SINGLE = 'mlp-single';
const ROWS = 50;
const TIMEOUT_MS = 5000;
const MAX_IN_FLIGHT = 2000;
/** What the single arm leaves behind is nobody's any more when the next round begins. */
const EXPIRES_IN_S = 2;

/** Whether a target for latency holds at a rate that batches of one row cannot serve. */
export const fraudSloBench: Bench = {
  name: 'fraud-slo',
  summary: `${RATE_PER_S} requests/s of a 30-4096-4096-2 MLP, Poisson, each POST /jobs with Prefer: wait; batches of 32 with 3 ms of delay, and of one`,
  figures: {
    p99_ms: 'from the intended time of the request to its answer, batches of up to 32',
    p50_ms: '',
    error_rate: 'requests that were not answered with a result / all',
    unbatched_share: 'the same load with batches of one row: answered within 5 s / offered',
    achieved_per_s: '',
    lag_p99_ms: 'how late the generator sent; part of p99_ms',
  },
  async prepare(context) {
    const send = await startArms(context);
    // What the compiler has not seen yet cannot keep up with the whole rate.
    await send(BATCHED, { seconds: 5, seed: 0, ratePerS: RATE_PER_S / 2 });
    await send(BATCHED, { seconds: 8, seed: 0, ratePerS: RATE_PER_S });
    const control = new NoiseControl();
    return async (round) => {
      control.begin();
      const batched = await send(BATCHED, { seconds: BATCHED_S, seed: round, ratePerS: RATE_PER_S });
      const single = await send(SINGLE, { seconds: SINGLE_S, seed: round, ratePerS: RATE_PER_S });
      if (batched.succeeded === 0) throw new MeasurementError(`No job succeeded: ${batched.firstError}`);
      return { figures: figuresOf(batched, single), noise: joinNoises([control.end()]) };
    };
  },
};

interface Burst {
  seconds: number;
  seed: number;
  ratePerS: number;
}

async function startArms({ cleanup, signal, progress }: BenchContext) {
  const dir = await temporaryModelsDir(cleanup);
  await writeMlpModel({ dir, name: BATCHED }, { max_batch_size: 32, max_queue_delay_ms: 3, calibrate: false });
  await writeMlpModel({ dir, name: SINGLE }, { max_batch_size: 1, calibrate: false });
  progress('the models are written');
  const platform = await startPlatform({
    modelsDir: dir,
    inheritEnv: false,
    env: { ONQUEUE_LOG_LEVEL: 'warn', ONQUEUE_MAX_WAITERS: String(MAX_IN_FLIGHT) },
    signal,
  });
  cleanup.add(() => platform.stop());
  const generator = forkBenchChild(new URL('../load-generator/load-generator-main.js', import.meta.url), cleanup);
  return (model: string, { seconds, seed, ratePerS }: Burst): Promise<LoadReport> => {
    const order: LoadOrder = {
      baseUrl: platform.baseUrl,
      ratePerS,
      count: ratePerS * seconds,
      seed,
      isHeld: true,
      bodies: Array.from({ length: ROWS }, (_, row) =>
        JSON.stringify({ model, input: mlpRow(row), expires_in: EXPIRES_IN_S, timeout: EXPIRES_IN_S }),
      ),
      maxInFlight: MAX_IN_FLIGHT,
      timeoutMs: TIMEOUT_MS,
    };
    return generator.ask(order, loadReport, 2 * seconds * 1000 + 4 * TIMEOUT_MS);
  };
}

function figuresOf(batched: LoadReport, single: LoadReport): Figures {
  return {
    p99_ms: batched.latencyMs.p99,
    p50_ms: batched.latencyMs.p50,
    error_rate: batched.errors / (batched.succeeded + batched.errors),
    unbatched_share: single.succeeded / (single.succeeded + single.errors),
    achieved_per_s: batched.achievedPerS,
    lag_p99_ms: batched.lagMs.p99,
  };
}
