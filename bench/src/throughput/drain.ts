import { setTimeout as delay } from 'node:timers/promises';
import { MeasurementError } from '../bench.ts';
import { treeCpuMs } from '../control/cpu-time.ts';
import type { DrainResult } from './side.ts';

export interface DrainOptions {
  jobs: number;
  /** Lets the worker begin. */
  release: () => Promise<unknown>;
  /** How many jobs have ended since `release`. */
  countEnded: () => Promise<number>;
  /** When the last one ended, by the clock of this machine, Unix ms. */
  lastEndMs: () => Promise<number>;
  workerPid: number;
  redisPid: number;
}

/** Twenty looks a second cost Redis nothing that could be measured. */
const LOOK_MS = 50;
const DEADLINE_MS = 60_000;

/** Releases the worker and times it until every job has ended. */
export async function timeDrain(options: DrainOptions): Promise<DrainResult> {
  const { jobs, workerPid, redisPid } = options;
  const before = { worker: treeCpuMs([workerPid]), redis: treeCpuMs([redisPid]) };
  const releasedAtMs = Date.now();
  await options.release();
  const deadline = releasedAtMs + DEADLINE_MS;
  for (let ended = 0; ended < jobs; ended = await options.countEnded()) {
    if (Date.now() > deadline) throw new MeasurementError(`${ended} of ${jobs} jobs ended in ${DEADLINE_MS / 1000} s.`);
    await delay(LOOK_MS);
  }
  const perJobUs = (now: number | undefined, then: number | undefined) =>
    now === undefined || then === undefined ? undefined : ((now - then) * 1000) / jobs;
  const workerCpuUs = perJobUs(treeCpuMs([workerPid]), before.worker);
  const redisCpuUs = perJobUs(treeCpuMs([redisPid]), before.redis);
  const seconds = ((await options.lastEndMs()) - releasedAtMs) / 1000;
  return { jobsPerS: jobs / seconds, workerCpuUs, redisCpuUs };
}
