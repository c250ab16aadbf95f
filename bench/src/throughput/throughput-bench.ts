import type { Bench, BenchContext, Figures } from '../bench.ts';
import { joinNoises, NoiseControl } from '../control/noise-control.ts';
import { readWorkload, type WorkloadRow } from '../workload.ts';
import { startOurSide } from './our-side.ts';
import type { DrainResult, Side } from './side.ts';
import { startStockSide } from './stock-side.ts';

/** Enough for some seconds a drain, so that the ramps at both ends weigh little. */
const JOBS = 12_000;
/** Compiles the hot paths, fills the pools, loads the scripts. */
const WARM_UP_JOBS = 3000;

export type StartSide = (context: BenchContext, rows: readonly WorkloadRow[]) => Promise<Side>;

/** How fast a backlog of one-row jobs drains through our worker, against BullMQ's own with one inference per job. */
export const throughputBench: Bench = {
  name: 'throughput',
  summary: `drains ${JOBS} queued jobs of one row: our worker against a stock BullMQ worker with one inference per job`,
  figures: {
    jobs_ratio: 'ours / stock, of neighbouring drains',
    ours_jobs_per_s: 'jobs committed per second by our worker with one runner',
    stock_jobs_per_s: 'jobs completed per second by the stock worker',
    ours_worker_cpu_us: 'CPU per job, supervisor and runner, µs',
    stock_worker_cpu_us: 'CPU per job, stock worker, µs',
    ours_redis_cpu_us: 'CPU per job, Redis under ours, µs',
    stock_redis_cpu_us: 'CPU per job, Redis under stock, µs',
  },
  async prepare(context) {
    const rows = await readWorkload();
    const control = new NoiseControl();
    return async (round) => {
      const noises: (string | undefined)[] = [];
      const measure = async (start: StartSide): Promise<DrainResult> => {
        const { result, noise } = await measureSide(start, { context, rows, control });
        noises.push(noise);
        return result;
      };
      // In turns, so that whatever drifts with time meets both sides alike.
      let ours: DrainResult;
      let stock: DrainResult;
      if (round % 2 === 1) {
        ours = await measure(startOurSide);
        stock = await measure(startStockSide);
      } else {
        stock = await measure(startStockSide);
        ours = await measure(startOurSide);
      }
      return { figures: figuresOf(ours, stock), noise: joinNoises(noises) };
    };
  },
};

export interface SideParts {
  context: BenchContext;
  rows: readonly WorkloadRow[];
  control: NoiseControl;
}

/** A fresh Redis and a fresh worker each time; only one side runs at a time. */
export async function measureSide(start: StartSide, { context, rows, control }: SideParts) {
  const side = await start(context, rows);
  try {
    await side.drain(WARM_UP_JOBS);
    control.begin();
    const result = await side.drain(JOBS);
    return { result, noise: control.end() };
  } finally {
    await side.stop();
  }
}

function figuresOf(ours: DrainResult, stock: DrainResult): Figures {
  const figures: Record<string, number | undefined> = {
    jobs_ratio: ours.jobsPerS / stock.jobsPerS,
    ours_jobs_per_s: ours.jobsPerS,
    stock_jobs_per_s: stock.jobsPerS,
    ours_worker_cpu_us: ours.workerCpuUs,
    stock_worker_cpu_us: stock.workerCpuUs,
    ours_redis_cpu_us: ours.redisCpuUs,
    stock_redis_cpu_us: stock.redisCpuUs,
  };
  return Object.fromEntries(
    Object.entries(figures).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}
