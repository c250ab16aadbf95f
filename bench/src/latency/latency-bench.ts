import { type Platform, startPlatform } from '@onqueue/launcher';
import type { Timings } from '@onqueue/shared';
import { type Bench, type BenchContext, type Figures, MeasurementError } from '../bench.ts';
import { type BenchChild, forkBenchChild } from '../bench-child.ts';
import { joinNoises, NoiseControl } from '../control/noise-control.ts';
import { type EchoServer, startEchoServer } from '../echo-server.ts';
import { JobClient, jobOf } from '../job-client.ts';
import { percentile } from '../statistics.ts';
import { AS_DECLARED, isRight, MODEL, readWorkload, rowOf, VERSION, type WorkloadRow } from '../workload.ts';
import { ortAnswer } from './ort-alone-protocol.ts';

/** Five jobs lie above the 99th percentile. */
const JOBS = 500;
/** As many as V8 takes to compile the hot paths of API and worker; fewer, and the rounds get faster one by one. */
const WARM_UP_JOBS = 2500;
const TIMEOUT_MS = 30_000;
/** Two requests to a server that does nothing took longer than this at the 99th percentile: the machine hiccups. */
const MAX_CONTROL_P99_MS = 2;

/** What the platform adds to one inference when nothing else is going on: one job at a time, in a closed loop. */
export const latencyBench: Bench = {
  name: 'latency',
  summary: `${JOBS} jobs of one row, one at a time on an idle platform, against onnxruntime alone`,
  figures: {
    added_p50_ms: 'e2e - onnxruntime alone, medians',
    added_p99_ms: 'e2e - onnxruntime alone, 99th percentiles',
    e2e_p50_ms: 'from just before POST /jobs to the result by long poll',
    e2e_p99_ms: '',
    ort_p50_ms: 'onnxruntime alone, from fields to score, in a process of its own',
    ort_p99_ms: '',
    post_p50_ms: 'of e2e: from just before POST /jobs to its 202',
    queue_p50_ms: 'as the job tells it: from acceptance to claim',
    batch_wait_p50_ms: '',
    inference_p50_ms: 'in the runner, with pre- and postprocessing',
    store_p50_ms: 'the rest from claim to commit: IPC and scripts',
    control_p50_ms: 'POST and GET as in e2e, to a server that answers at once',
    control_p99_ms: '',
  },
  async prepare(context) {
    const rows = await readWorkload();
    const env = { ONQUEUE_MODELS: MODEL, ONQUEUE_LOG_LEVEL: 'warn', ...AS_DECLARED };
    const platform = await startPlatform({ inheritEnv: false, env, signal: context.signal });
    context.cleanup.add(() => platform.stop());
    const ort = forkBenchChild(new URL('./ort-alone-main.js', import.meta.url), context.cleanup);
    const echo = await startEchoServer();
    context.cleanup.add(() => echo.close());
    const parts = { client: jobClient(platform, context), rows };
    const echoClient = jobClient(echo, context);
    await measureControl(echoClient, WARM_UP_JOBS);
    await measureJobs(parts, WARM_UP_JOBS);
    await measureOrt(ort, WARM_UP_JOBS);
    const control = new NoiseControl();
    return async () => {
      control.begin();
      const ortMs = await measureOrt(ort, JOBS);
      const controlMs = await measureControl(echoClient, JOBS);
      const jobs = await measureJobs(parts, JOBS);
      const controlP99 = percentile(controlMs, 99);
      const hiccups = controlP99 > MAX_CONTROL_P99_MS ? `control p99 ${controlP99.toFixed(1)} ms` : undefined;
      return { figures: figuresOf({ jobs, ortMs, controlMs }), noise: joinNoises([control.end(), hiccups]) };
    };
  },
};

function jobClient({ baseUrl }: Platform | EchoServer, { cleanup }: BenchContext): JobClient {
  const client = new JobClient({ baseUrl, maxSockets: 1, timeoutMs: TIMEOUT_MS });
  cleanup.add(async () => client.close());
  return client;
}

interface JobTimes {
  e2eMs: number;
  postMs: number;
  timings: Timings;
}

async function measureJobs({ client, rows }: { client: JobClient; rows: readonly WorkloadRow[] }, count: number) {
  const times: JobTimes[] = [];
  for (let index = 0; index < count; index++) {
    const row = rowOf(rows, index);
    const body = JSON.stringify({ model: MODEL, version: VERSION, input: row.input });
    const startedAt = performance.now();
    const id = await client.post(body);
    const acceptedAt = performance.now();
    const text = await client.result(id);
    const endedAt = performance.now();
    const { results, timings } = jobOf(text);
    const [result] = results ?? [];
    if (!timings || result?.status !== 'succeeded' || !isRight(row, result.output.probability)) {
      throw new MeasurementError(`Row ${index} was scored wrongly: ${text}`);
    }
    times.push({ e2eMs: endedAt - startedAt, postMs: acceptedAt - startedAt, timings });
  }
  return times;
}

async function measureControl(echoClient: JobClient, count: number): Promise<number[]> {
  const timesMs: number[] = [];
  for (let index = 0; index < count; index++) {
    const startedAt = performance.now();
    await echoClient.result(await echoClient.post('{}'));
    timesMs.push(performance.now() - startedAt);
  }
  return timesMs;
}

async function measureOrt(ort: BenchChild, rows: number): Promise<number[]> {
  return (await ort.ask({ rows }, ortAnswer, TIMEOUT_MS)).timesMs;
}

interface RoundTimes {
  jobs: readonly JobTimes[];
  ortMs: readonly number[];
  controlMs: readonly number[];
}

function figuresOf({ jobs, ortMs, controlMs }: RoundTimes): Figures {
  const e2eMs = jobs.map((job) => job.e2eMs);
  const [e2eP50, e2eP99] = [percentile(e2eMs, 50), percentile(e2eMs, 99)];
  const [ortP50, ortP99] = [percentile(ortMs, 50), percentile(ortMs, 99)];
  const phase = (of: (timings: Timings) => number) =>
    percentile(
      jobs.map(({ timings }) => of(timings)),
      50,
    );
  return {
    added_p50_ms: e2eP50 - ortP50,
    added_p99_ms: e2eP99 - ortP99,
    e2e_p50_ms: e2eP50,
    e2e_p99_ms: e2eP99,
    ort_p50_ms: ortP50,
    ort_p99_ms: ortP99,
    post_p50_ms: percentile(
      jobs.map(({ postMs }) => postMs),
      50,
    ),
    queue_p50_ms: phase((timings) => timings.queue_ms),
    batch_wait_p50_ms: phase((timings) => timings.batch_wait_ms),
    inference_p50_ms: phase((timings) => timings.preprocess_ms + timings.inference_ms + timings.postprocess_ms),
    store_p50_ms: phase((timings) => timings.store_ms),
    control_p50_ms: percentile(controlMs, 50),
    control_p99_ms: percentile(controlMs, 99),
  };
}
