import type { ChildService } from '@onqueue/launcher';
import { eventType, jobState } from '@onqueue/shared';
import { z } from 'zod';
import { request } from '../../support/client.ts';
import { until } from '../../support/until.ts';
import { checkHistory } from '../history/history-checker.ts';
import { digestOf, HistoryRecorder } from '../history/history-recorder.ts';
import type { FaultPlatform } from './fault-platform.ts';
import { faultSeed } from './fault-size.ts';
import { inParallel } from './in-parallel.ts';
import { RecordingClient } from './recording-client.ts';
import { SeededRandom } from './seeded-random.ts';

/** Requests that a verdict has open at a time: long polls hold a connection each. */
const IN_FLIGHT = 64;
/** What a dead relay or dispatcher held comes back within ten seconds; a slow machine gets more. */
const WEBHOOKS_MS = 45_000;

/** What is left to say about a history in which nothing is wrong. */
export interface Verdict {
  /** Acknowledged jobs by how their last run ended. */
  ended: Record<string, number>;
  mostAttempts: number;
  webhooks: number;
  /** Different ones among the webhooks. */
  events: number;
}

/** One test's part of a platform: its client, its chances and its history. */
export class FaultScene {
  readonly random: SeededRandom;
  readonly history: HistoryRecorder;
  readonly client: RecordingClient;
  readonly #scenario: string;
  readonly #stage: FaultPlatform;
  /** Events that arrived, by job. */
  readonly #events = new Map<string, Set<string>>();
  readonly #lost = new Set<string>();
  #webhooks = 0;
  #onWebhook = () => {};

  constructor(stage: FaultPlatform, scenario: string) {
    this.#stage = stage;
    this.#scenario = scenario;
    this.random = new SeededRandom(faultSeed());
    process.stdout.write(`${scenario}: FAULT_SEED=${this.random.seed}\n`);
    this.history = new HistoryRecorder({ scenario, seed: this.random.seed });
    this.client = new RecordingClient({
      history: this.history,
      random: this.random,
      baseUrls: () => this.apis.map(({ baseUrl }) => baseUrl),
      webhookUrl: (key) => stage.sink.url(scenario, key),
    });
    stage.sink.listen(scenario, ({ body, type, ...webhook }) => {
      if (this.#lost.has(webhook.id)) return; // It was on its way already.
      this.#webhooks += 1;
      const events = this.#events.get(webhook.id) ?? new Set();
      this.#events.set(webhook.id, events.add(webhook.event));
      this.history.record({ kind: 'webhook', type: eventType.parse(type), digest: digestOf(body), ...webhook });
      this.#onWebhook();
    });
  }

  get apis(): ChildService[] {
    return this.#stage.platform.apis.filter((api) => !api.hasExited);
  }

  get workers(): ChildService[] {
    return this.#stage.platform.workers.filter((worker) => !worker.hasExited);
  }

  /** Resolves when every API says that it serves. */
  async untilReady(): Promise<void> {
    for (const { baseUrl } of this.apis) {
      await until('the API is ready again', async () => (await request(`${baseUrl}/readyz`)).status === 200);
    }
  }

  /**
   * Redis has forgotten its last moments: finds out which jobs are lost, and holds what was seen of the others until now
   * against nobody.
   */
  async rollBack(): Promise<Set<string>> {
    const { client, history } = this;
    const ids = new Set([...client.acknowledged.keys(), ...this.#events.keys()]);
    await inParallel(ids, IN_FLIGHT, async (id) => {
      const isThere = await until(`somebody knows of ${id}`, async () => {
        const { status } = await request(`${this.apis[0]?.baseUrl}/jobs/${id}`);
        return status === 200 ? 'yes' : status === 404 && 'no';
      });
      if (isThere === 'no') this.#lost.add(id);
    });
    history.record({ kind: 'rollback', lost: [...this.#lost] });
    client.forget(this.#lost);
    for (const id of this.#lost) this.#events.delete(id);
    return this.#lost;
  }

  async kill(service: ChildService): Promise<void> {
    this.history.record({ kind: 'fault', what: `SIGKILL ${service.name} ${service.pid}` });
    await service.kill();
  }

  /** Without a verdict: what still comes is forgotten, and so is the history. */
  close(): void {
    this.#stage.sink.forget(this.#scenario);
    this.history.remove();
  }

  /** Waits for the ends and the webhooks of all jobs, reads everything once more, and checks the history. */
  async verdict(): Promise<Verdict> {
    const { client, history } = this;
    const runs = await inParallel(client.acknowledged.keys(), IN_FLIGHT, async (id) => {
      await client.end(id);
      return [id, (await client.runs(id))?.length ?? 0] as const;
    });
    await this.#untilWebhooks(runs);
    const jobs = await this.#readAll();
    await this.#readBacklogs();
    this.#readLogs();
    const violations = checkHistory(history.lines);
    if (violations.length > 0) {
      this.#stage.sink.forget(this.#scenario);
      const list = violations.slice(0, 20).map(({ rule, subject, detail }) => `  ${rule}: ${subject} ${detail}`);
      throw new Error(
        `${violations.length} violations with FAULT_SEED=${this.random.seed}, history in ${history.file}:\n${list.join('\n')}`,
      );
    }
    this.close();
    const ended: Record<string, number> = {};
    for (const { status } of jobs) ended[status] = (ended[status] ?? 0) + 1;
    const events = [...this.#events.values()].reduce((sum, { size }) => sum + size, 0);
    const mostAttempts = jobs.reduce((most, { attempt }) => Math.max(most, attempt), 0);
    return { ended, mostAttempts, webhooks: this.#webhooks, events };
  }

  /** At least a webhook for each run; when that takes too long, the checker says which are missing. */
  async #untilWebhooks(runs: readonly (readonly [id: string, count: number])[]): Promise<void> {
    const haveArrived = () => runs.every(([id, count]) => (this.#events.get(id)?.size ?? 0) >= count);
    if (haveArrived()) return;
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(resolve, WEBHOOKS_MS);
      this.#onWebhook = () => {
        if (!haveArrived()) return;
        clearTimeout(deadline);
        resolve();
      };
    });
  }

  /** Every job that was told or seen, once more and from each API; the acknowledged ones. */
  async #readAll() {
    const { client } = this;
    const untold = [...this.#events.keys()].filter((id) => !client.acknowledged.has(id));
    await inParallel(untold, IN_FLIGHT, async (id) => {
      await client.end(id);
      await client.runs(id);
    });
    for (const { baseUrl } of this.apis) {
      await inParallel([...client.acknowledged.keys(), ...untold], IN_FLIGHT, (id) => client.read(id, { baseUrl }));
    }
    return inParallel(client.acknowledged.keys(), IN_FLIGHT, (id) => client.end(id));
  }

  /** What the workers say of these jobs, those that died too; only their newest lines, which a long scene outgrows. */
  #readLogs(): void {
    for (const { pid, logs } of this.#stage.platform.workers) {
      for (const line of logs()) {
        const told = workerLine.safeParse(line).data;
        if (!told || !(this.client.acknowledged.has(told.job_id) || this.#events.has(told.job_id))) continue;
        const { msg, job_id: id, attempt, run, status } = told;
        const common = { worker: `worker ${pid}`, id, attempt };
        if (msg.startsWith('result discarded')) this.history.record({ kind: 'fenced', ...common });
        else if (run !== undefined && status !== undefined) {
          this.history.record({ kind: 'reported', ...common, run, state: status });
        }
      }
    }
  }

  async #readBacklogs(): Promise<void> {
    const read = async () => {
      const { body } = await request<string>(`${this.apis[0]?.baseUrl}/metrics`);
      return backlogsOf(String(body));
    };
    const areEmpty = async () =>
      (await read()).every(({ jobs, rows, bytes }) => jobs === 0 && rows === 0 && bytes === 0);
    await until('the backlog is empty', areEmpty, 15_000).catch(() => {}); // The checker says what is left.
    for (const backlog of await read()) this.history.record({ kind: 'backlog', ...backlog });
  }
}

/** A line about an attempt that ended, or whose end was refused; other lines are about something else. */
const workerLine = z
  .string()
  .startsWith('{')
  .transform((text): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      return undefined; // It died in the middle of the line.
    }
  })
  .pipe(
    z.object({
      msg: z.string(),
      job_id: z.string(),
      attempt: z.number().int(),
      run: z.number().int().optional(),
      status: jobState.optional(),
    }),
  );

function backlogsOf(metrics: string): { model: string; jobs: number; rows: number; bytes: number }[] {
  const value = (dimension: string, model: string) =>
    Number(new RegExp(`^onqueue_queue_depth_${dimension}\\{model="${model}"\\} (-?\\d+)$`, 'm').exec(metrics)?.[1]);
  return [...metrics.matchAll(/^onqueue_queue_depth_jobs\{model="([^"]+)"\}/gm)].map(([, model = '']) => ({
    model,
    jobs: value('jobs', model),
    rows: value('rows', model),
    bytes: value('bytes', model),
  }));
}
