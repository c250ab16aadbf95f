import { type Platform, startPlatform } from '@onqueue/launcher';
import { declareCache } from '../../../test/support/models/model-folder.ts';
import { writeLoopModel } from '../../../test/support/models/tiny-models.ts';
import { type Bench, type BenchContext, MeasurementError } from '../bench.ts';
import { joinNoises, NoiseControl } from '../control/noise-control.ts';
import { JobClient, jobOf } from '../job-client.ts';
import { temporaryModelsDir } from '../models/temporary-models-dir.ts';
import { percentile } from '../statistics.ts';

const MODEL = 'loop';
/** Of a row that is computed; the loop is measured first. */
const ROW_MS = 60;
const TRIAL_STEPS = 100_000;
const ROWS = 40;
const HITS_PER_ROW = 10;
const WARM_UP_HITS = 1000;
const IDENTICAL = 1000;
/** So long that most of the identical ones come while the first is computed. */
const IDENTICAL_MS = 3000;
const MAX_SOCKETS = 128;
const TIMEOUT_MS = 60_000;

/** What an answer costs that is kept already, and how often a row is computed that a thousand jobs want at once. */
export const cacheBench: Bench = {
  name: 'cache',
  summary: `${ROWS} rows of ${ROW_MS} ms, computed and then answered from the cache; ${IDENTICAL} jobs of one row at once`,
  figures: {
    hit_ratio: 'hit p50 / miss p50',
    hit_p50_ms: 'POST /jobs with Prefer: wait, to its answer; the row was answered before',
    hit_p99_ms: '',
    miss_p50_ms: 'the same, of a row that nobody has asked before',
    computations: `rows that were computed for ${IDENTICAL} jobs of one equal row at once`,
    followers: 'of these jobs, how many waited for the row; the rest came when its answer was there',
    burst_s: 'from the first POST of them to the last end; the row alone takes 3 s',
  },
  async prepare(context) {
    const platform = await startCachedModel(context);
    const client = new JobClient({ baseUrl: platform.baseUrl, maxSockets: MAX_SOCKETS, timeoutMs: TIMEOUT_MS });
    context.cleanup.add(async () => client.close());
    const stepsPerMs = await measureSteps(client);
    const bodyOf = (steps: number) => JSON.stringify({ model: MODEL, input: { steps } });
    for (let n = 0; n < WARM_UP_HITS; n++) await timeOf(client, bodyOf(TRIAL_STEPS));
    const control = new NoiseControl();
    return async (round) => {
      control.begin();
      // Rows that no round had before, and all about as long.
      const bodies = Array.from({ length: ROWS }, (_, n) => bodyOf(Math.round(stepsPerMs * ROW_MS) + round * ROWS + n));
      const missMs: number[] = [];
      for (const body of bodies) missMs.push(await timeOf(client, body));
      const hitMs: number[] = [];
      for (let n = 0; n < ROWS * HITS_PER_ROW; n++) hitMs.push(await timeOf(client, bodies[n % ROWS] ?? ''));
      const burst = await identicalAtOnce(platform, client, bodyOf(Math.round(stepsPerMs * IDENTICAL_MS) + round));
      return {
        figures: {
          hit_ratio: percentile(hitMs, 50) / percentile(missMs, 50),
          hit_p50_ms: percentile(hitMs, 50),
          hit_p99_ms: percentile(hitMs, 99),
          miss_p50_ms: percentile(missMs, 50),
          ...burst,
        },
        noise: joinNoises([control.end()]),
      };
    };
  },
};

async function startCachedModel({ cleanup, signal }: BenchContext): Promise<Platform> {
  const dir = await temporaryModelsDir(cleanup);
  await declareCache(writeLoopModel({ dir, name: MODEL, version: '1', batching: { max_batch_size: 1 } }), {
    ttl_s: 3600,
  });
  const env = { ONQUEUE_LOG_LEVEL: 'warn', ONQUEUE_CALIBRATION_BUDGET_MS: '0' };
  const platform = await startPlatform({ modelsDir: dir, inheritEnv: false, env, signal });
  cleanup.add(() => platform.stop());
  return platform;
}

/** Steps of the loop in a millisecond, here. */
async function measureSteps(client: JobClient): Promise<number> {
  let fastestMs = Number.POSITIVE_INFINITY;
  for (let trial = 0; trial < 5; trial++) {
    const body = JSON.stringify({ model: MODEL, input: { steps: TRIAL_STEPS + trial } });
    const { timings } = jobOf(await client.run(body));
    fastestMs = Math.min(fastestMs, timings?.inference_ms ?? fastestMs);
  }
  await client.run(JSON.stringify({ model: MODEL, input: { steps: TRIAL_STEPS } }));
  return TRIAL_STEPS / fastestMs;
}

async function timeOf(client: JobClient, body: string): Promise<number> {
  const startedAt = performance.now();
  const answer = await client.run(body);
  const ms = performance.now() - startedAt;
  jobOf(answer);
  return ms;
}

async function identicalAtOnce(platform: Platform, client: JobClient, body: string) {
  const [computed, followed] = await countsOf(platform);
  const startedAt = performance.now();
  const ids = await Promise.all(Array.from({ length: IDENTICAL }, () => client.post(body)));
  for (const text of await Promise.all(ids.map((id) => client.result(id)))) jobOf(text);
  const seconds = (performance.now() - startedAt) / 1000;
  const [computedThen, followedThen] = await countsOf(platform);
  return { computations: computedThen - computed, followers: followedThen - followed, burst_s: seconds };
}

/** Rows that the worker has computed, and rows that the API has had wait for others. */
async function countsOf({ workers, apis }: Platform): Promise<[computed: number, followed: number]> {
  return [
    await metric(workers[0]?.baseUrl, `onqueue_batch_rows_sum{model="${MODEL}",version="1"}`),
    await metric(apis[0]?.baseUrl, `onqueue_cache_rows_total{model="${MODEL}",version="1",outcome="follow"}`, 0),
  ];
}

async function metric(baseUrl: string | undefined, name: string, missing?: number): Promise<number> {
  const text = await (await fetch(`${baseUrl}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  const value = line === undefined ? missing : Number(line.slice(name.length));
  if (value === undefined) throw new MeasurementError(`There is no ${name} in the metrics.`);
  return value;
}
