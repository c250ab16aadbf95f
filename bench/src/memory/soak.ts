import { startPlatform } from '@onqueue/launcher';
import { type BenchContext, type Figures, MeasurementError } from '../bench.ts';
import { JobClient, jobOf } from '../job-client.ts';
import { REDIS_OPTIONS } from '../throughput/private-redis.ts';

/** By then V8 has compiled what it will, and the heaps have their working size. */
const WARM_UP_JOBS = 10_000;
const JOBS = 1_000_000;
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
    env: { ONQUEUE_MODELS: model, ONQUEUE_LOG_LEVEL: 'warn', ONQUEUE_RETENTION_S: '60' },
    signal,
  });
  const stopPlatform = cleanup.add(() => platform.stop());
  const [api] = platform.apis;
  const [worker] = platform.workers;
  if (!api || !worker) throw new Error('A platform without API or worker. This is a bug.');
  const client = new JobClient({ baseUrl: platform.baseUrl, maxSockets: CLIENTS, timeoutMs: 60_000 });
  try {
    await run(client, body, WARM_UP_JOBS);
    const before = { api: await rssBytes(api.baseUrl), worker: await rssBytes(worker.baseUrl) };
    progress(`RSS after ${WARM_UP_JOBS} jobs: API ${megabytes(before.api)}, worker ${megabytes(before.worker)}`);
    await run(client, body, JOBS, (done) => progress(`${done} jobs`));
    const after = { api: await rssBytes(api.baseUrl), worker: await rssBytes(worker.baseUrl) };
    progress(`RSS after ${JOBS} more: API ${megabytes(after.api)}, worker ${megabytes(after.worker)}`);
    const [apiRatio, workerRatio] = [after.api / before.api, after.worker / before.worker];
    return { rss_ratio: Math.max(apiRatio, workerRatio), api_rss_ratio: apiRatio, worker_rss_ratio: workerRatio };
  } finally {
    client.close();
    await stopPlatform();
  }
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
