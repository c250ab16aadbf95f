import { startPlatform } from '@onqueue/launcher';
import { type BenchContext, type Figures, MeasurementError } from '../bench.ts';
import { JobClient, jobOf } from '../job-client.ts';
import { REDIS_OPTIONS } from '../throughput/private-redis.ts';
import { AS_DECLARED } from '../workload.ts';

/** Jobs so far at each reading. By the second one V8's heaps have their working size: what grows later is left behind. */
const READINGS = [10_000, 100_000, 1_000_000] as const;
const CLIENTS = 32;
/** A client waits for the result of each such job; what it posted before has ended by then, too. */
const JOBS_A_WAIT = 100;
const SAMPLES = 10;
const SAMPLE_EVERY_MS = 500;

/**
 * Whether a million jobs leave anything behind in the processes: posted to the API over HTTP, run by a worker, forgotten a
 * minute later. RSS moves with the garbage collector, so each reading is the median of several, seconds after the last job.
 */
export async function measureSoak(
  { cleanup, signal, progress }: BenchContext,
  { model, body }: { model: string; body: string },
): Promise<Figures> {
  const platform = await startPlatform({
    apis: 1,
    workers: 1,
    redisOptions: REDIS_OPTIONS,
    inheritEnv: false,
    env: { ONQUEUE_MODELS: model, ONQUEUE_LOG_LEVEL: 'warn', ...AS_DECLARED, ONQUEUE_RETENTION_S: '60' },
    signal,
  });
  const stopPlatform = cleanup.add(() => platform.stop());
  const [api] = platform.apis;
  const [worker] = platform.workers;
  if (!api || !worker) throw new Error('A platform without API or worker. This is a bug.');
  const client = new JobClient({ baseUrl: platform.baseUrl, maxSockets: CLIENTS, timeoutMs: 60_000 });
  try {
    const read = async (jobs: number): Promise<Rss> => {
      const rss = { api: await rssBytes(api.baseUrl), worker: await rssBytes(worker.baseUrl) };
      progress(`RSS after ${jobs} jobs: API ${megabytes(rss.api)}, worker ${megabytes(rss.worker)}`);
      return rss;
    };
    const [firstJobs, secondJobs, lastJobs] = READINGS;
    await run(client, body, firstJobs);
    const first = await read(firstJobs);
    await run(client, body, secondJobs - firstJobs);
    const second = await read(secondJobs);
    await run(client, body, lastJobs - secondJobs, (done) => progress(`${done} jobs more`));
    const last = await read(lastJobs);
    return {
      rss_ratio: greaterRatio(last, first),
      api_rss_ratio: last.api / first.api,
      worker_rss_ratio: last.worker / first.worker,
      late_rss_ratio: greaterRatio(last, second),
    };
  } finally {
    client.close();
    await stopPlatform();
  }
}

interface Rss {
  api: number;
  worker: number;
}

function greaterRatio(after: Rss, before: Rss): number {
  return Math.max(after.api / before.api, after.worker / before.worker);
}

async function run(client: JobClient, body: string, count: number, onProgress?: (done: number) => void): Promise<void> {
  let posted = 0;
  const reportEvery = count / 10;
  const submit = async () => {
    for (let own = 1; posted < count; own++) {
      posted += 1;
      if (posted % reportEvery === 0) onProgress?.(posted);
      const id = await client.post(body);
      if (own % JOBS_A_WAIT === 0 || posted === count) jobOf(await client.result(id));
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, submit));
}

async function rssBytes(baseUrl: string): Promise<number> {
  const samples: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_EVERY_MS));
    const text = await (await fetch(`${baseUrl}/metrics`)).text();
    samples.push(Number(/^process_resident_memory_bytes (\S+)$/m.exec(text)?.[1]));
  }
  const middle = samples.toSorted((a, b) => a - b)[SAMPLES >> 1];
  if (!middle) throw new MeasurementError(`${baseUrl}/metrics does not tell process_resident_memory_bytes.`);
  return middle;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
