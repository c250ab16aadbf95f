import { type Platform, startPlatform } from '@onqueue/launcher';
import type { JobView } from '@onqueue/shared';
import { type BenchContext, type Figures, MeasurementError } from '../bench.ts';
import { endOf, JobClient, jobOf } from '../job-client.ts';
import { percentile } from '../statistics.ts';
import { REDIS_OPTIONS } from '../throughput/private-redis.ts';
import { AS_DECLARED, MODEL } from '../workload.ts';

const WAITERS = 2000;
const READERS = 1000;
const AT_ONCE = 100;
const POLL_S = 120;
const TIMEOUT_MS = POLL_S * 1000;
/** Jobs whose ends are timed while the others wait. */
const WOKEN = 400;
const WOKEN_AT_ONCE = 4;
const SETTLE_MS = 2000;

/**
 * What long polls and streams of events cost while nothing happens to their jobs, and how soon one is told that has 2,000 polls and 1,000
 * streams beside it. The job that they wait for does not end, since no worker serves its model.
 */
export async function measureHeldRequests(context: BenchContext, body: string, idleBody: string): Promise<Figures> {
  const platform = await startPlatform({
    redisOptions: REDIS_OPTIONS,
    inheritEnv: false,
    env: { ONQUEUE_LOG_LEVEL: 'warn', ...AS_DECLARED },
    apiEnv: { ONQUEUE_MAX_WAITERS: String(2 * WAITERS), ONQUEUE_MAX_WAIT_S: String(POLL_S) },
    signal: context.signal,
  });
  const stop = context.cleanup.add(() => platform.kill());
  const idle = new JobClient({ baseUrl: platform.baseUrl, maxSockets: WAITERS + READERS, timeoutMs: TIMEOUT_MS });
  const client = new JobClient({ baseUrl: platform.baseUrl, maxSockets: WOKEN_AT_ONCE, timeoutMs: TIMEOUT_MS });
  try {
    await serveOnly(platform, MODEL);
    // The API has its working size, and has seen every route.
    await pollWakes(client, body);
    await streamWakes(client, body);
    const id = await idle.post(idleBody);
    const before = await rssBytes(platform);
    await hold(platform, 'onqueue_waiters', WAITERS, () => idle.result(id));
    const withWaiters = await rssBytes(platform);
    await hold(platform, 'onqueue_event_readers', READERS, () => idle.events(id));
    const withReaders = await rssBytes(platform);
    return {
      kb_per_waiter: (withWaiters - before) / WAITERS / 1024,
      kb_per_sse_reader: (withReaders - withWaiters) / READERS / 1024,
      wake_p99_ms: percentile(await pollWakes(client, body), 99),
      sse_wake_p99_ms: percentile(await streamWakes(client, body), 99),
    };
  } finally {
    await stop();
    idle.close();
    client.close();
  }
}

/** Some at a time: as many connections at once as no server's queue of new ones is for. */
async function hold(platform: Platform, gauge: string, count: number, open: () => Promise<unknown>): Promise<void> {
  let firstError: Error | undefined;
  const held = () => metric(platform, gauge);
  for (let opened = AT_ONCE; opened <= count; opened += AT_ONCE) {
    for (let one = 0; one < AT_ONCE; one++) open().catch((error: Error) => (firstError ??= error));
    const deadline = performance.now() + TIMEOUT_MS;
    while ((await held()) < opened) {
      if (firstError) throw new MeasurementError(`A request was not held: ${firstError.message}`);
      if (performance.now() > deadline) throw new MeasurementError(`${gauge} does not come to ${opened}.`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Another worker in the place of the first, which has published every model. */
async function serveOnly(platform: Platform, model: string): Promise<void> {
  await platform.workers[0]?.stop();
  await platform.startWorker({ ONQUEUE_MODELS: model });
}

function pollWakes(client: JobClient, body: string): Promise<number[]> {
  return wakes(async () => jobOf(await client.run(body)));
}

function streamWakes(client: JobClient, body: string): Promise<number[]> {
  return wakes(async () => endOf(await client.events(await client.post(body))));
}

/** From the commit, as Redis' clock has it, to the answer: both on this machine, to the millisecond. */
async function wakes(run: () => Promise<JobView>): Promise<number[]> {
  const wakesMs: number[] = [];
  let sent = 0;
  const loop = async () => {
    while (sent < WOKEN) {
      sent += 1;
      const { finished_at: finishedAt } = await run();
      wakesMs.push(Date.now() - Date.parse(finishedAt ?? ''));
    }
  };
  await Promise.all(Array.from({ length: WOKEN_AT_ONCE }, loop));
  return wakesMs;
}

async function rssBytes(platform: Platform): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  return metric(platform, 'process_resident_memory_bytes');
}

async function metric({ baseUrl }: Platform, name: string): Promise<number> {
  const text = await (await fetch(`${baseUrl}/metrics`)).text();
  const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
  if (value === undefined) throw new MeasurementError(`${baseUrl}/metrics does not tell ${name}.`);
  return Number(value);
}
