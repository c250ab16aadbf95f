import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { startPlatform } from '@onqueue/launcher';
import type { Bench, BenchContext, Figures } from '../bench.ts';
import { type BenchChild, forkBenchChild } from '../bench-child.ts';
import { NoiseControl } from '../control/noise-control.ts';
import { writeComputeModel } from '../models/compute-model.ts';
import { temporaryModelsDir } from '../models/temporary-models-dir.ts';
import { REDIS_OPTIONS } from '../throughput/private-redis.ts';
import { BENCH_KEY_PREFIX, queuedWorker } from '../throughput/queued-worker.ts';
import type { Side } from '../throughput/side.ts';
import { AS_DECLARED } from '../workload.ts';
import { bareAnswer } from './bare-protocol.ts';

const MODEL = 'compute';
const BATCH_SIZE = 32;
const BARE_SIZES = [4, 8, 16, 32, 64];
/** Per runner; a whole number of batches. */
const ROWS = 512;
const TIMEOUT_MS = 60_000;

/** How much of a core's arithmetic arrives at the client: everything around the inference, against none of it. */
export const efficiencyBench: Bench = {
  name: 'efficiency',
  summary:
    'drains queued rows of a compute-bound model with runners of one thread, against onnxruntime alone at its best batch',
  figures: {
    items_ratio: 'rows/s end to end with one runner / onnxruntime alone in one process',
    items_ratio_2: 'rows/s end to end with two runners / onnxruntime alone in two processes at once',
    item_ms: 'milliseconds a row, onnxruntime alone',
    bare_rows_per_s: 'one process',
    rows_per_s: 'end to end, one runner',
    bare_rows_per_s_2: 'two processes',
    rows_per_s_2: 'end to end, two runners',
  },
  async prepare(context) {
    const dir = await temporaryModelsDir(context.cleanup);
    const { folder } = await writeComputeModel({ dir, name: MODEL }, BATCH_SIZE);
    const bare = [1, 2].map(() => forkBenchChild(new URL('./bare-main.js', import.meta.url), context.cleanup));
    const path = join(folder, 'model.onnx');
    const bestSize = await findBestSize(context, bare[0] as BenchChild, path);
    const sides: Side[] = [];
    for (const instances of [1, 2].slice(0, availableParallelism())) {
      const side = await startSide(context, dir, instances);
      await side.drain(ROWS / 4);
      sides.push(side);
    }
    const control = new NoiseControl();
    return async () => {
      control.begin();
      const figures: Figures = {};
      for (const [index, side] of sides.entries()) {
        const processes = bare.slice(0, index + 1);
        const suffix = index === 0 ? '' : '_2';
        // Before and after, so that what drifts with time meets both alike.
        const before = await measureBare(processes, path, bestSize);
        const { jobsPerS } = await side.drain(ROWS * processes.length);
        const after = await measureBare(processes, path, bestSize);
        const bareRowsPerS = (before + after) / 2;
        figures[`items_ratio${suffix}`] = jobsPerS / bareRowsPerS;
        figures[`bare_rows_per_s${suffix}`] = bareRowsPerS;
        figures[`rows_per_s${suffix}`] = jobsPerS;
        if (index === 0) figures.item_ms = 1000 / bareRowsPerS;
      }
      return { figures, noise: control.end() };
    };
  },
};

async function findBestSize({ progress }: BenchContext, bare: BenchChild, path: string): Promise<number> {
  let best = { batchSize: 1, rowsPerS: 0 };
  for (const batchSize of BARE_SIZES) {
    await bare.ask({ path, batchSize, rows: batchSize }, bareAnswer, TIMEOUT_MS);
    const { rowsPerS } = await bare.ask({ path, batchSize, rows: 192 }, bareAnswer, TIMEOUT_MS);
    progress(`onnxruntime alone, ${batchSize} rows a batch: ${rowsPerS.toFixed(1)} rows/s`);
    if (rowsPerS > best.rowsPerS) best = { batchSize, rowsPerS };
  }
  return best.batchSize;
}

/** Half as many rows as the platform gets, since it is asked twice. */
async function measureBare(processes: readonly BenchChild[], path: string, batchSize: number): Promise<number> {
  const question = { path, batchSize, rows: ROWS / 2 };
  const answers = await Promise.all(processes.map((process) => process.ask(question, bareAnswer, TIMEOUT_MS)));
  return answers.reduce((sum, { rowsPerS }) => sum + rowsPerS, 0);
}

async function startSide(context: BenchContext, dir: string, instances: number): Promise<Side> {
  const platform = await startPlatform({
    apis: 0,
    workers: 1,
    modelsDir: dir,
    redisOptions: REDIS_OPTIONS,
    inheritEnv: false,
    env: {
      ONQUEUE_KEY_PREFIX: BENCH_KEY_PREFIX,
      ONQUEUE_LOG_LEVEL: 'warn',
      ONQUEUE_INSTANCES: String(instances),
      ONQUEUE_INTRA_OP_THREADS: '1',
      ...AS_DECLARED,
    },
    signal: context.signal,
  });
  context.cleanup.add(() => platform.stop());
  return queuedWorker(context, platform, {
    name: MODEL,
    version: '1',
    input: (index) => ({ value: index % 100 }),
    isRight: (index, output) => Math.abs(Number(output?.score) - (index % 100)) < 0.01,
  });
}
