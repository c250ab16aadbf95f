import { startPlatform } from '@onqueue/launcher';
import { type Bench, type Figures, MeasurementError } from '../bench.ts';
import { type BenchChild, forkBenchChild } from '../bench-child.ts';
import { joinNoises, NoiseControl } from '../control/noise-control.ts';
import { startEchoServer } from '../echo-server.ts';
import { type LoadOrder, type LoadReport, loadReport } from '../load-generator/load-protocol.ts';
import { AS_DECLARED, MODEL, readWorkload, VERSION } from '../workload.ts';

const RATE_PER_S = 200;
const JOBS = 2000;
/** Sent faster, so that V8 has compiled generator and platform before the first round without costing it half a minute. */
const WARM_UP_JOBS = 2000;
const WARM_UP_RATE_PER_S = 500;
/** Against the echo server: long enough to meet the machine's hiccups, short enough to be worth it every round. */
const CONTROL_JOBS = 500;
const TIMEOUT_MS = 30_000;
const MAX_IN_FLIGHT = 512;

/** The control took longer than this at its 99th percentile: generator or machine was busy with something else. */
const MAX_CONTROL_P99_MS = 8;
const MAX_LAG_P99_MS = 8;

/** Latency under a steady open load, far below what saturates two cores. */
export const loadBench: Bench = {
  name: 'load',
  summary: `${RATE_PER_S} jobs/s of one row, Poisson arrivals, open loop, from POST to the result by long poll`,
  figures: {
    e2e_p50_ms: 'from the intended time of POST /jobs to the result by long poll',
    e2e_p90_ms: '',
    e2e_p99_ms: '',
    e2e_max_ms: '',
    achieved_per_s: 'jobs that succeeded per second',
    errors: 'jobs that did not succeed or could not be sent',
    control_p50_ms: 'the same against a server that answers at once',
    control_p99_ms: '',
    lag_p50_ms: 'how late the generator sent; part of e2e',
    lag_p99_ms: '',
  },
  async prepare({ cleanup, signal }) {
    const rows = await readWorkload();
    const echo = await startEchoServer();
    cleanup.add(() => echo.close());
    const env = { ONQUEUE_MODELS: MODEL, ONQUEUE_LOG_LEVEL: 'warn', ...AS_DECLARED };
    const platform = await startPlatform({ inheritEnv: false, env, signal });
    cleanup.add(() => platform.stop());
    const generator = forkBenchChild(new URL('../load-generator/load-generator-main.js', import.meta.url), cleanup);
    const bodies = rows.map(({ input }) => JSON.stringify({ model: MODEL, version: VERSION, input }));
    const send = (baseUrl: string, count: number, seed: number, ratePerS = RATE_PER_S) =>
      generate(generator, { baseUrl, count, seed, bodies, ratePerS, ...LIMITS });

    await send(echo.baseUrl, WARM_UP_JOBS, 0, WARM_UP_RATE_PER_S);
    await send(platform.baseUrl, WARM_UP_JOBS, 0, WARM_UP_RATE_PER_S);
    const control = new NoiseControl();
    return async (round) => {
      control.begin();
      const echoed = await send(echo.baseUrl, CONTROL_JOBS, round);
      const report = await send(platform.baseUrl, JOBS, round);
      if (report.succeeded === 0) throw new MeasurementError(`No job succeeded: ${report.firstError}`);
      return { figures: figuresOf(report, echoed), noise: noiseOf(control.end(), report, echoed) };
    };
  },
};

const LIMITS = { maxInFlight: MAX_IN_FLIGHT, timeoutMs: TIMEOUT_MS };

function generate(generator: BenchChild, order: LoadOrder): Promise<LoadReport> {
  const scheduleMs = (order.count / order.ratePerS) * 1000;
  return generator.ask(order, loadReport, 2 * scheduleMs + 2 * order.timeoutMs);
}

function noiseOf(machine: string | undefined, report: LoadReport, echoed: LoadReport): string | undefined {
  return joinNoises([
    machine,
    echoed.latencyMs.p99 > MAX_CONTROL_P99_MS ? `control p99 ${echoed.latencyMs.p99.toFixed(1)} ms` : undefined,
    report.lagMs.p99 > MAX_LAG_P99_MS ? `generator lag p99 ${report.lagMs.p99.toFixed(1)} ms` : undefined,
  ]);
}

function figuresOf({ latencyMs, achievedPerS, errors, lagMs }: LoadReport, echoed: LoadReport): Figures {
  return {
    e2e_p50_ms: latencyMs.p50,
    e2e_p90_ms: latencyMs.p90,
    e2e_p99_ms: latencyMs.p99,
    e2e_max_ms: latencyMs.max,
    achieved_per_s: achievedPerS,
    errors,
    control_p50_ms: echoed.latencyMs.p50,
    control_p99_ms: echoed.latencyMs.p99,
    lag_p50_ms: lagMs.p50,
    lag_p99_ms: lagMs.p99,
  };
}
