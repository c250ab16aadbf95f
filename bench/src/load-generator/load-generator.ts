import { setTimeout as delay } from 'node:timers/promises';
import { JobClient, RefusedError } from '../job-client.ts';
import { LatencyHistogram } from './latency-histogram.ts';
import type { LoadOrder, LoadReport } from './load-protocol.ts';
import { poissonSchedule } from './poisson-schedule.ts';

/**
 * Sends jobs open-loop: at the times of a Poisson schedule, whether or not earlier ones have been answered. A job's
 * latency counts from the time at which it should have been sent, to its result by long poll; a server that stalls thus
 * pays for everybody who would have come meanwhile (no coordinated omission), and our own lateness counts against it,
 * which is why that is reported too.
 */
export async function generateLoad(order: LoadOrder): Promise<LoadReport> {
  const { baseUrl, maxInFlight, timeoutMs } = order;
  const client = new JobClient({ baseUrl, maxSockets: maxInFlight, timeoutMs });
  const run = new LoadRun(order, client);
  try {
    return await run.toEnd();
  } finally {
    client.close();
  }
}

class LoadRun {
  readonly #order: LoadOrder;
  readonly #client: JobClient;
  readonly #latency = new LatencyHistogram();
  readonly #lag = new LatencyHistogram();
  readonly #inFlight = new Set<Promise<void>>();
  #sent = 0;
  #errors = 0;
  #refused = 0;
  #errors5xx = 0;
  #firstError: string | undefined;

  constructor(order: LoadOrder, client: JobClient) {
    this.#order = order;
    this.#client = client;
  }

  async toEnd(): Promise<LoadReport> {
    const schedule = poissonSchedule(this.#order);
    // A moment of peace before the first one.
    const startedAt = performance.now() + 20;
    for (const [index, offsetMs] of schedule.entries()) {
      const dueAt = startedAt + offsetMs;
      // Timers tick in milliseconds and fire late rather than early; what is due already goes out in the same turn.
      for (let waitMs = dueAt - performance.now(); waitMs > 0; waitMs = dueAt - performance.now()) await delay(waitMs);
      this.#start(index, dueAt);
    }
    await Promise.all(this.#inFlight);
    const seconds = (performance.now() - startedAt - (schedule[0] ?? 0)) / 1000;
    return {
      sent: this.#sent,
      succeeded: this.#latency.count,
      errors: this.#errors,
      refused: this.#refused,
      errors5xx: this.#errors5xx,
      ...(this.#firstError === undefined ? {} : { firstError: this.#firstError }),
      achievedPerS: this.#latency.count / seconds,
      latencyMs: percentilesOf(this.#latency),
      lagMs: percentilesOf(this.#lag),
      histogram: this.#latency.buckets(),
    };
  }

  #start(index: number, dueAt: number): void {
    if (this.#inFlight.size >= this.#order.maxInFlight) {
      this.#fail(new Error(`${this.#inFlight.size} jobs were under way already`));
      return;
    }
    this.#lag.record(performance.now() - dueAt);
    this.#sent++;
    const job = this.#send(index, dueAt).finally(() => this.#inFlight.delete(job));
    this.#inFlight.add(job);
  }

  async #send(index: number, dueAt: number): Promise<void> {
    const { bodies, isHeld } = this.#order;
    const body = bodies[index % bodies.length] ?? '';
    try {
      const answer = isHeld ? await this.#client.run(body) : await this.#client.result(await this.#client.post(body));
      const latencyMs = performance.now() - dueAt;
      // Parsing it whole would cost more than all the rest of the generator.
      if (answer.includes('"status":"succeeded"')) this.#latency.record(latencyMs);
      else this.#fail(new Error(answer.slice(0, 200)));
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#errors++;
    if (error instanceof RefusedError) {
      const { status, hasRetryAfter } = error;
      if (hasRetryAfter && (status === 429 || status === 503)) this.#refused++;
      else if (status >= 500) this.#errors5xx++;
    }
    this.#firstError ??= error instanceof Error ? error.message : String(error);
  }
}

function percentilesOf(histogram: LatencyHistogram) {
  const [p50 = 0, p90 = 0, p99 = 0, max = 0] = [50, 90, 99, 100].map((p) => histogram.percentile(p));
  return { p50, p90, p99, max };
}
