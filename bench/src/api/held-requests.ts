import { type Platform, startPlatform } from '@onqueue/launcher';
import { type BenchContext, type Figures, MeasurementError } from '../bench.ts';
import { JobClient, jobOf } from '../job-client.ts';
import { percentile } from '../statistics.ts';
import { REDIS_OPTIONS } from '../throughput/private-redis.ts';
import { AS_DECLARED, MODEL } from '../workload.ts';

const WAITERS = 2000;
const AT_ONCE = 100;
const POLL_S = 120;
const TIMEOUT_MS = POLL_S * 1000;
/** Jobs whose ends are timed while the others wait. */
const WOKEN = 400;
const WOKEN_AT_ONCE = 4;
const SETTLE_MS = 2000;

/**
 * What long polls cost while nothing happens to their jobs, and how soon one is answered that has 2,000 others beside it. The job that they
 * wait for does not end, since no worker serves its model.
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
  const idle = new JobClient({ baseUrl: platform.baseUrl, maxSockets: WAITERS, timeoutMs: TIMEOUT_MS });
  const client = new JobClient({ baseUrl: platform.baseUrl, maxSockets: WOKEN_AT_ONCE, timeoutMs: TIMEOUT_MS });
  try {
    await serveOnly(platform, MODEL);
    // The API has its working size, and has seen every route.
    await wakes(client, body);
    const id = await idle.post(idleBody);
    const before = await rssBytes(platform);
    await hold(platform, idle, id);
    const perWaiter = ((await rssBytes(platform)) - before) / WAITERS / 1024;
    return { kb_per_waiter: perWaiter, wake_p99_ms: percentile(await wakes(client, body), 99) };
  } finally {
    await stop();
    idle.close();
    client.close();
  }
}

/** Some at a time: as many connections at once as no server's queue of new ones is for. */
async function hold(platform: Platform, client: JobClient, id: string): Promise<void> {
  let firstError: Error | undefined;
  const held = () => metric(platform, 'onqueue_waiters');
  for (let waiters = AT_ONCE; waiters <= WAITERS; waiters += AT_ONCE) {
    for (let waiter = 0; waiter < AT_ONCE; waiter++) client.result(id).catch((error: Error) => (firstError ??= error));
    const deadline = performance.now() + TIMEOUT_MS;
    while ((await held()) < waiters) {
      if (firstError) throw new MeasurementError(`A long poll was not held: ${firstError.message}`);
      if (performance.now() > deadline) throw new MeasurementError(`Not ${waiters} long polls are held.`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Another worker in the place of the first, which has published every model. */
async function serveOnly(platform: Platform, model: string): Promise<void> {
  await platform.workers[0]?.stop();
  await platform.startWorker({ ONQUEUE_MODELS: model });
}

/** From the commit, as Redis' clock has it, to the answer: both on this machine, to the millisecond. */
async function wakes(client: JobClient, body: string): Promise<number[]> {
  const wakesMs: number[] = [];
  let sent = 0;
  const loop = async () => {
    while (sent < WOKEN) {
      sent += 1;
      const job = jobOf(await client.run(body));
      wakesMs.push(Date.now() - Date.parse(job.finished_at ?? ''));
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
