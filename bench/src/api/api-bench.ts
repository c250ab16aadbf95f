import { startPlatform, startRedisServer } from '@onqueue/launcher';
import type { Bench, BenchContext, Figures } from '../bench.ts';
import { forkBenchChild } from '../bench-child.ts';
import { NoiseControl } from '../control/noise-control.ts';
import { REDIS_OPTIONS } from '../throughput/private-redis.ts';
import { AS_DECLARED, MODEL, readWorkload } from '../workload.ts';
import { bareServerAnswer } from './bare-server-protocol.ts';
import { measureHeldRequests } from './held-requests.ts';
import { type PostingReport, postingReport } from './posting-protocol.ts';

const JOBS = 6000;
const WARM_UP_JOBS = 4000;
const CONNECTIONS = 32;
const TIMEOUT_MS = 60_000;
/** 64 pixels: no worker serves it while it is waited for. */
const IDLE_BODY = JSON.stringify({ model: 'digits', input: { pixels: Array(64).fill(0) as number[] } });

/** What the API does on top of a bare one, and what those cost who wait. */
export const apiBench: Bench = {
  name: 'api',
  summary: `${JOBS} POST /jobs by ${CONNECTIONS} connections, against Express + zod + queue.add; once, 2,000 long polls and 1,000 streams of events at a time`,
  figures: {
    rps_ratio: 'POST /jobs/s, ours / bare',
    p99_ratio: '99th percentile of the 202, ours / bare',
    rps: 'ours',
    bare_rps: '',
    p50_ms: 'ours',
    bare_p50_ms: '',
    kb_per_waiter: 'RSS of the API per long poll that is held, of 2,000 (measured once)',
    kb_per_sse_reader: 'the same per stream of events (SSE), of 1,000 beside them (measured once)',
    wake_p99_ms: 'from the commit of a job to the answer of its long poll, beside all of those (measured once)',
    sse_wake_p99_ms: 'from the commit of a job to the end of its stream of events, beside all of those (measured once)',
  },
  async prepare(context) {
    const bodies = (await readWorkload()).map(({ input }) => JSON.stringify({ model: MODEL, input }));
    const held = await measureHeldRequests(context, bodies[0] as string, IDLE_BODY);
    const [ours, bare] = [await startOurs(context), await startBare(context)];
    const client = forkBenchChild(new URL('./posting-client-main.js', import.meta.url), context.cleanup);
    const post = (baseUrl: string, count: number): Promise<PostingReport> =>
      client.ask(
        { baseUrl, bodies, count, connections: CONNECTIONS, timeoutMs: TIMEOUT_MS },
        postingReport,
        2 * TIMEOUT_MS,
      );
    await post(ours, WARM_UP_JOBS);
    await post(bare, WARM_UP_JOBS);
    const control = new NoiseControl();
    return async (round) => {
      control.begin();
      const order = round % 2 === 0 ? [ours, bare] : [bare, ours];
      const reports = new Map<string, PostingReport>();
      for (const baseUrl of order) reports.set(baseUrl, await post(baseUrl, JOBS));
      return {
        figures: {
          ...figuresOf(reports.get(ours) as PostingReport, reports.get(bare) as PostingReport),
          ...held,
        },
        noise: control.end(),
      };
    };
  },
};

/** Its worker has published the models and gone: what it would compute, it would take from both sides. */
async function startOurs({ cleanup, signal }: BenchContext): Promise<string> {
  const platform = await startPlatform({
    redisOptions: REDIS_OPTIONS,
    inheritEnv: false,
    env: {
      ONQUEUE_MODELS: MODEL,
      ONQUEUE_LOG_LEVEL: 'warn',
      ONQUEUE_BACKLOG_MAX_JOBS: '1000000',
      ONQUEUE_BACKLOG_MAX_ROWS: '1000000',
      ONQUEUE_BACKLOG_MAX_BYTES: '4000000000',
      ...AS_DECLARED,
    },
    signal,
  });
  cleanup.add(() => platform.stop());
  await platform.workers[0]?.stop();
  return platform.baseUrl;
}

async function startBare({ cleanup }: BenchContext): Promise<string> {
  const redis = await startRedisServer(REDIS_OPTIONS);
  cleanup.add(() => redis.stop());
  const server = forkBenchChild(new URL('./bare-server-main.js', import.meta.url), cleanup);
  return (await server.ask({ redisUrl: redis.url }, bareServerAnswer, TIMEOUT_MS)).baseUrl;
}

function figuresOf(ours: PostingReport, bare: PostingReport): Figures {
  return {
    rps_ratio: ours.perS / bare.perS,
    p99_ratio: ours.latencyMs.p99 / bare.latencyMs.p99,
    rps: ours.perS,
    bare_rps: bare.perS,
    p50_ms: ours.latencyMs.p50,
    bare_p50_ms: bare.latencyMs.p50,
  };
}
