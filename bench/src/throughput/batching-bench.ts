import type { Bench, Figures } from '../bench.ts';
import { joinNoises, NoiseControl } from '../control/noise-control.ts';
import { readWorkload } from '../workload.ts';
import { startOurSide } from './our-side.ts';
import type { DrainResult } from './side.ts';
import { startStockSide } from './stock-side.ts';
import { measureSide, type StartSide } from './throughput-bench.ts';

const SIDES: Readonly<Record<'batch' | 'stock' | 'plain', StartSide>> = {
  batch: (context, rows) => startOurSide(context, rows, 'batch'),
  stock: (context, rows) => startOurSide(context, rows, 'stock'),
  plain: startStockSide,
};

/** What claiming and committing in batches is worth: the same worker, the same writes, BullMQ's Worker instead. */
export const batchingBench: Bench = {
  name: 'batching',
  summary:
    "drains queued jobs of one row: our worker with the batch source, with BullMQ's Worker, and a worker without records",
  figures: {
    jobs_ratio: "jobs/s with the batch source / with BullMQ's Worker, the same durable writes",
    cpu_ratio: "CPU of supervisor and runner per job, batch source / BullMQ's Worker",
    plain_ratio: 'jobs/s with the batch source / a BullMQ Worker that infers one by one and keeps no records',
    batch_jobs_per_s: 'jobs committed per second, batch source',
    stock_jobs_per_s: "jobs committed per second, BullMQ's Worker",
    plain_jobs_per_s: 'jobs completed per second, without records',
    batch_worker_cpu_us: 'CPU per job, µs',
    stock_worker_cpu_us: 'CPU per job, µs',
    batch_redis_cpu_us: 'CPU per job of Redis, µs',
    stock_redis_cpu_us: 'CPU per job of Redis, µs',
  },
  async prepare(context) {
    const rows = await readWorkload();
    const control = new NoiseControl();
    return async (round) => {
      const noises: (string | undefined)[] = [];
      const results: Partial<Record<keyof typeof SIDES, DrainResult>> = {};
      const names = ['batch', 'stock', 'plain'] as const;
      // Each round begins with another side, so that whatever drifts with time meets all alike.
      for (let turn = 0; turn < names.length; turn++) {
        const name = names[(turn + round) % names.length] ?? 'batch';
        const { result, noise } = await measureSide(SIDES[name], { context, rows, control });
        results[name] = result;
        noises.push(noise);
      }
      return { figures: figuresOf(results as Record<keyof typeof SIDES, DrainResult>), noise: joinNoises(noises) };
    };
  },
};

function figuresOf({ batch, stock, plain }: Record<keyof typeof SIDES, DrainResult>): Figures {
  const figures: Record<string, number | undefined> = {
    jobs_ratio: batch.jobsPerS / stock.jobsPerS,
    cpu_ratio: batch.workerCpuUs && stock.workerCpuUs ? batch.workerCpuUs / stock.workerCpuUs : undefined,
    plain_ratio: batch.jobsPerS / plain.jobsPerS,
    batch_jobs_per_s: batch.jobsPerS,
    stock_jobs_per_s: stock.jobsPerS,
    plain_jobs_per_s: plain.jobsPerS,
    batch_worker_cpu_us: batch.workerCpuUs,
    stock_worker_cpu_us: stock.workerCpuUs,
    batch_redis_cpu_us: batch.redisCpuUs,
    stock_redis_cpu_us: stock.redisCpuUs,
  };
  return Object.fromEntries(
    Object.entries(figures).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}
