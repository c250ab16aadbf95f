import { startPlatform } from '@onqueue/launcher';
import type { Bench, BenchContext } from '../bench.ts';
import { NoiseControl } from '../control/noise-control.ts';
import { mlpRow, writeMlpModel } from '../models/mlp-model.ts';
import { temporaryModelsDir } from '../models/temporary-models-dir.ts';
import { REDIS_OPTIONS } from '../throughput/private-redis.ts';
import { BENCH_KEY_PREFIX, type QueuedModel, queuedWorker } from '../throughput/queued-worker.ts';

const SINGLE = 'mlp-single';
const BATCHED = 'mlp-batched';
const MAX_BATCH = 128;
const SINGLE_JOBS = 250;
const BATCHED_JOBS = 2500;
/** Distinct rows. */
const ROWS = 50;
/** A row alone and the same row in a batch differ in their last digits. */
const TOLERANCE = 1e-3;

/** What batches are worth where the weights have to come from memory: the same worker, one row at a time and as calibrated. */
export const gainBench: Bench = {
  name: 'gain',
  summary: 'drains queued rows of a 30-4096-4096-2 MLP: batches of one row against batches as calibrated, same worker',
  figures: {
    batching_gain: 'rows/s with calibrated batches / with batches of one row',
    batched_rows_per_s: '',
    single_rows_per_s: '',
  },
  async prepare(context) {
    const sides = await startSides(context);
    await sides.single.drain(50);
    await sides.batched.drain(500);
    const control = new NoiseControl();
    return async (round) => {
      control.begin();
      const order = round % 2 === 0 ? (['single', 'batched'] as const) : (['batched', 'single'] as const);
      const rowsPerS = { single: 0, batched: 0 };
      for (const name of order) {
        const { jobsPerS } = await sides[name].drain(name === 'single' ? SINGLE_JOBS : BATCHED_JOBS);
        rowsPerS[name] = jobsPerS;
      }
      return {
        figures: {
          batching_gain: rowsPerS.batched / rowsPerS.single,
          batched_rows_per_s: rowsPerS.batched,
          single_rows_per_s: rowsPerS.single,
        },
        noise: control.end(),
      };
    };
  },
};

/** One worker with the same model twice; who is not measured is idle. */
async function startSides(context: BenchContext) {
  const dir = await temporaryModelsDir(context.cleanup);
  await writeMlpModel({ dir, name: SINGLE }, { max_batch_size: 1, calibrate: false });
  await writeMlpModel({ dir, name: BATCHED }, { max_batch_size: MAX_BATCH, calibrate: true });
  context.progress('the models are written');
  const platform = await startPlatform({
    apis: 0,
    workers: 1,
    modelsDir: dir,
    redisOptions: REDIS_OPTIONS,
    inheritEnv: false,
    env: { ONQUEUE_KEY_PREFIX: BENCH_KEY_PREFIX, ONQUEUE_LOG_LEVEL: 'warn', ONQUEUE_CACHE_DIR: dir },
    signal: context.signal,
  });
  context.cleanup.add(() => platform.stop());
  const answers = new Map<number, number>();
  const modelOf = (name: string): QueuedModel => ({
    name,
    version: '1',
    input: (index) => mlpRow(index % ROWS),
    isRight: (index, output) => {
      const probability = output?.probability;
      if (typeof probability !== 'number') return false;
      // The first answer stands for the row: both arms must give the same.
      const expected = answers.get(index % ROWS) ?? probability;
      answers.set(index % ROWS, expected);
      return Math.abs(probability - expected) <= TOLERANCE;
    },
  });
  return {
    single: queuedWorker(context, platform, modelOf(SINGLE)),
    batched: queuedWorker(context, platform, modelOf(BATCHED)),
  };
}
