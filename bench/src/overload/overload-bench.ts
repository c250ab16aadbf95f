import { readFile } from 'node:fs/promises';
import { type Platform, startPlatform } from '@onqueue/launcher';
import { writeLoopModel } from '../../../test/support/models/tiny-models.ts';
import { type Bench, type BenchContext, MeasurementError } from '../bench.ts';
import { type BenchChild, forkBenchChild } from '../bench-child.ts';
import { joinNoises, NoiseControl } from '../control/noise-control.ts';
import { JobClient, jobOf } from '../job-client.ts';
import { type LoadReport, loadReport } from '../load-generator/load-protocol.ts';
import { temporaryModelsDir } from '../models/temporary-models-dir.ts';

const MODEL = 'loop';
/** One row a batch: some 200 rows a second. */
const ROW_MS = 5;
const TRIAL_STEPS = 100_000;
const DRAINED_JOBS = 600;
const STEADY_SHARE = 0.8;
const STEADY_S = 20;
const OVERLOAD = 3;
const WARM_UP_S = 15;
const OVERLOAD_S = 30;
const TIMEOUT_MS = 60_000;
const MAX_IN_FLIGHT = 1500;

/** Whether a platform that is offered more than it can do sheds the rest, and does what it accepts in time. */
export const overloadBench: Bench = {
  name: 'overload',
  summary: `${OVERLOAD} times what a model of some ${1000 / ROW_MS} rows/s can do, with a queue wait of twice the p99 at 80 % of it`,
  figures: {
    p99_ratio: 'accepted jobs, p99 under overload / at 80 %',
    rss_ratio: 'resident memory of API and worker after the overload / before it, the larger',
    errors_5xx: 'answers of 5xx but for 503 with Retry-After',
    steady_p99_ms: 'at 80 %, from the intended time of POST /jobs to the result by long poll',
    overload_p99_ms: '',
    overload_p50_ms: '',
    max_queue_wait_ms: 'as set: twice the p99 at 80 %',
    capacity_per_s: 'rows/s of a backlog that drains',
    accepted_per_s: 'under overload, jobs that succeeded',
    refused_share: 'under overload, answered 429 or 503 with Retry-After / offered',
    lost: 'accepted jobs that did not succeed, and requests without an answer',
  },
  async prepare(context) {
    const modelsDir = await temporaryModelsDir(context.cleanup);
    await writeLoopModel({ dir: modelsDir, name: MODEL, version: '1', batching: { max_batch_size: 1 } });
    const generator = forkBenchChild(
      new URL('../load-generator/load-generator-main.js', import.meta.url),
      context.cleanup,
    );
    const control = new NoiseControl();
    return async (round) => {
      control.begin();
      const steady = await withPlatform(context, { modelsDir }, async ({ baseUrl }) => {
        const body = JSON.stringify({ model: MODEL, input: { steps: await stepsFor(baseUrl, ROW_MS) } });
        const ratePerS = await capacityOf(baseUrl, body);
        const send = { baseUrl, body, seed: round };
        await generate(generator, { ...send, seconds: 5, ratePerS: ratePerS / 2 });
        const report = await generate(generator, { ...send, seconds: STEADY_S, ratePerS: ratePerS * STEADY_SHARE });
        return { body, ratePerS, p99Ms: report.latencyMs.p99 };
      });
      const waitS = Math.max(0.05, (2 * steady.p99Ms) / 1000);
      const { report, rssRatio } = await withPlatform(context, { modelsDir, waitS }, async (platform) => {
        const send = {
          baseUrl: platform.baseUrl,
          body: steady.body,
          seed: round,
          ratePerS: steady.ratePerS * OVERLOAD,
        };
        await generate(generator, { ...send, seconds: WARM_UP_S });
        const before = await residentBytes(platform);
        const overload = await generate(generator, { ...send, seconds: OVERLOAD_S });
        const after = await residentBytes(platform);
        return {
          report: overload,
          rssRatio: Math.max(...after.map((bytes, index) => bytes / (before[index] ?? bytes))),
        };
      });
      return {
        figures: {
          p99_ratio: report.latencyMs.p99 / steady.p99Ms,
          rss_ratio: rssRatio,
          errors_5xx: report.errors5xx,
          steady_p99_ms: steady.p99Ms,
          overload_p99_ms: report.latencyMs.p99,
          overload_p50_ms: report.latencyMs.p50,
          max_queue_wait_ms: waitS * 1000,
          capacity_per_s: steady.ratePerS,
          accepted_per_s: report.achievedPerS,
          refused_share: report.refused / (report.succeeded + report.errors),
          lost: report.errors - report.refused - report.errors5xx,
        },
        noise: joinNoises([control.end()]),
      };
    };
  },
};

async function withPlatform<T>(
  { cleanup, signal }: BenchContext,
  { modelsDir, waitS }: { modelsDir: string; waitS?: number },
  work: (platform: Platform) => Promise<T>,
): Promise<T> {
  const env = {
    ONQUEUE_LOG_LEVEL: 'warn',
    ONQUEUE_CALIBRATION_BUDGET_MS: '0',
    ONQUEUE_MAX_WAITERS: String(2 * MAX_IN_FLIGHT),
    ...(waitS === undefined ? {} : { ONQUEUE_MAX_QUEUE_WAIT_S: waitS.toFixed(3) }),
  };
  const platform = await startPlatform({ modelsDir, inheritEnv: false, env, signal });
  const stop = cleanup.add(() => platform.stop());
  try {
    return await work(platform);
  } finally {
    await stop();
  }
}

interface Load {
  baseUrl: string;
  body: string;
  seed: number;
  seconds: number;
  ratePerS: number;
}

async function generate(generator: BenchChild, { baseUrl, body, seed, seconds, ratePerS }: Load): Promise<LoadReport> {
  const order = {
    baseUrl,
    ratePerS,
    count: Math.round(ratePerS * seconds),
    seed,
    bodies: [body],
    maxInFlight: MAX_IN_FLIGHT,
    timeoutMs: TIMEOUT_MS,
  };
  const report = await generator.ask(order, loadReport, 2 * seconds * 1000 + 2 * TIMEOUT_MS);
  if (report.succeeded === 0) throw new MeasurementError(`No job succeeded: ${report.firstError}`);
  return report;
}

async function stepsFor(baseUrl: string, ms: number): Promise<number> {
  return withClient(baseUrl, async (client) => {
    let fastestMs = Number.POSITIVE_INFINITY;
    for (let trial = 0; trial < 5; trial++) {
      const { timings } = jobOf(await client.run(JSON.stringify({ model: MODEL, input: { steps: TRIAL_STEPS } })));
      fastestMs = Math.min(fastestMs, timings?.inference_ms ?? fastestMs);
    }
    return Math.round((TRIAL_STEPS * ms) / fastestMs);
  });
}

/** Rows a second of a backlog that drains. */
async function capacityOf(baseUrl: string, body: string): Promise<number> {
  return withClient(baseUrl, async (client) => {
    const ids = await Promise.all(Array.from({ length: DRAINED_JOBS }, () => client.post(body)));
    const startedAt = performance.now();
    const [first, last] = [await client.result(ids[0] ?? ''), await client.result(ids.at(-1) ?? '')].map(jobOf);
    const [from, to] = [first?.finished_at, last?.finished_at].map((time) => Date.parse(time ?? ''));
    const ms = Number(to) - Number(from) || performance.now() - startedAt;
    return (DRAINED_JOBS * 1000) / ms;
  });
}

async function withClient<T>(baseUrl: string, work: (client: JobClient) => Promise<T>): Promise<T> {
  const client = new JobClient({ baseUrl, maxSockets: 64, timeoutMs: TIMEOUT_MS });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** Of API and worker; of each the least of some readings, since it moves with the garbage collector. */
async function residentBytes({ apis, workers }: Platform): Promise<number[]> {
  return Promise.all(
    [...apis, ...workers].map(async ({ pid }) => {
      const readings: number[] = [];
      for (let reading = 0; reading < 10; reading++) {
        const status = await readFile(`/proc/${pid}/status`, 'utf8');
        readings.push(Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      return Math.min(...readings);
    }),
  );
}
