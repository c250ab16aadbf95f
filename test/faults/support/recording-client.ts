import { setTimeout as delay } from 'node:timers/promises';
import { isTerminal, type JobState } from '@onqueue/shared';
import { until } from '../../support/until.ts';
import { digestOf, type HistoryRecorder } from '../history/history-recorder.ts';
import type { SeededRandom } from './seeded-random.ts';

export interface RecordingClientOptions {
  history: HistoryRecorder;
  random: SeededRandom;
  /** Where requests may go now. */
  baseUrls: () => readonly string[];
  webhookUrl: (key: string) => string;
}

/** What to ask, and what must be answered. */
export interface Order {
  model: string;
  input: Record<string, unknown>;
  score: number;
  version?: string;
  expires_in?: number;
  timeout?: number;
  /** How its run ends if all goes well; by default it succeeds. */
  end?: JobState;
}

interface JobAnswer {
  id: string;
  run: number;
  attempt: number;
  status: JobState;
  results: { output?: { score?: number } }[] | null;
}

/** 503s that are said before anything is written, or since nothing could be. */
const STORED_NOTHING = new Set(['storage_full', 'model_unavailable']);

/** A client that writes down what it asks and sees. No answer, or a 5xx, is a thing that happens: it never throws for it. */
export class RecordingClient {
  readonly #options: RecordingClientOptions;
  /** Every job that was acknowledged, with its request's key. */
  readonly acknowledged = new Map<string, string>();
  /** What these were told to do. */
  readonly orders = new Map<string, Order>();
  /** Those that were seen to have ended. */
  readonly ended = new Set<string>();
  #requests = 0;

  constructor(options: RecordingClientOptions) {
    this.#options = options;
  }

  /** The id when it was acknowledged. */
  async submit(order: Order, baseUrl = this.#anyUrl()): Promise<string | undefined> {
    const { score, end: _, ...body } = order;
    const { history, webhookUrl } = this.#options;
    const key = `k${++this.#requests}`;
    history.record({ kind: 'request', key, model: order.model, webhook: true, score });
    const answer = await this.#ask('POST', `${baseUrl}/jobs`, { ...body, webhook: webhookUrl(key) });
    if (answer.status === 202) {
      const { id } = JSON.parse(answer.text) as { id: string };
      history.record({ kind: 'acknowledged', key, id });
      this.acknowledged.set(id, key);
      this.orders.set(id, order);
      return id;
    }
    const code = codeOf(answer.text);
    // Any other 503 says that Redis did not answer: it may have done what it was told all the same.
    if ((answer.status >= 400 && answer.status < 500) || STORED_NOTHING.has(code)) {
      history.record({ kind: 'refused', key, status: answer.status, code });
    } else {
      history.record({ kind: 'unanswered', key, reason: answer.status === 0 ? answer.text : code });
    }
    return undefined;
  }

  /** As a verdict counts them, when every job ends as its order says. */
  get expectedEnds(): Record<string, number> {
    const ends: Record<string, number> = {};
    for (const { end = 'succeeded' } of this.orders.values()) ends[end] = (ends[end] ?? 0) + 1;
    return ends;
  }

  /** Jobs that are known to be lost: nobody asks for them any more. */
  forget(ids: Iterable<string>): void {
    for (const id of ids) for (const known of [this.acknowledged, this.orders, this.ended]) known.delete(id);
  }

  /** Undefined when there was no answer. */
  async read(id: string, { wait, baseUrl = this.#anyUrl() }: { wait?: number; baseUrl?: string } = {}) {
    const from = this.#options.history.now();
    const answer = await this.#ask('GET', `${baseUrl}/jobs/${id}${wait ? `?wait=${wait}` : ''}`);
    if (answer.status === 404) this.#options.history.record({ kind: 'missing', id });
    return answer.status === 200 ? this.#observe(from, answer.text) : undefined;
  }

  /** Waits by long poll, at whichever API answers. */
  async end(id: string, deadlineMs = 60_000): Promise<JobAnswer> {
    const until = performance.now() + deadlineMs;
    for (;;) {
      const leftMs = until - performance.now();
      const job = await this.read(id, { wait: Math.max(1, Math.min(20, Math.ceil(leftMs / 1000))) });
      if (job && isTerminal(job.status)) return job;
      if (performance.now() > until) throw new Error(`job ${id} is still ${job?.status ?? 'unseen'}`);
      // One that is dead or drains answers at once.
      await delay(5);
    }
  }

  /** Whether the cancel held; undefined when nobody said. */
  async cancel(id: string, baseUrl = this.#anyUrl()): Promise<boolean | undefined> {
    const { history } = this.#options;
    const from = history.now();
    const answer = await this.#ask('POST', `${baseUrl}/jobs/${id}/cancel`);
    if (answer.status === 200) {
      const { run } = this.#observe(from, answer.text);
      history.record({ kind: 'cancel', from, id, run, isCanceled: true });
      return true;
    }
    if (answer.status !== 409) return undefined;
    // Nobody retries while jobs are canceled here: it is about the only run.
    history.record({ kind: 'cancel', from, id, run: 1, isCanceled: false });
    return false;
  }

  async retry(id: string, baseUrl = this.#anyUrl()): Promise<void> {
    const { history } = this.#options;
    const from = history.now();
    const answer = await this.#ask('POST', `${baseUrl}/jobs/${id}/retry`);
    if (answer.status !== 202) return;
    const { run } = this.#observe(from, answer.text);
    history.record({ kind: 'retried', id, run });
    this.ended.delete(id);
  }

  /** Writes down how each run ended, asking whichever API until one answers; undefined when the job is gone. */
  async runs(id: string, deadlineMs = 60_000): Promise<{ run: number; state: JobState }[] | undefined> {
    const { history } = this.#options;
    const answer = await until(
      `somebody lists the runs of ${id}`,
      async () => {
        const { status, text } = await this.#ask('GET', `${this.#anyUrl()}/jobs/${id}/runs`);
        return (status === 200 || status === 404) && { status, text };
      },
      deadlineMs,
    );
    if (answer.status === 404) {
      history.record({ kind: 'missing', id });
      return undefined;
    }
    const { data } = JSON.parse(answer.text) as { data: Pick<JobAnswer, 'run' | 'status' | 'attempt' | 'results'>[] };
    const runs = data.map(({ run, status, attempt, results }) => ({
      run,
      state: status,
      attempt,
      score: results?.[0]?.output?.score ?? null,
    }));
    history.record({ kind: 'runs', id, runs });
    return runs;
  }

  #observe(from: number, text: string): JobAnswer {
    const job = JSON.parse(text) as JobAnswer;
    const { id, run, attempt, status: state } = job;
    const score = job.results?.[0]?.output?.score ?? null;
    this.#options.history.record({
      kind: 'observed',
      from,
      id,
      run,
      attempt,
      state,
      score,
      digest: digestOf(endOf(text)),
    });
    if (isTerminal(state)) this.ended.add(id);
    return job;
  }

  #anyUrl(): string {
    const { random, baseUrls } = this.#options;
    return random.oneOf(baseUrls());
  }

  /** Status 0: no answer, with the reason as the text. */
  async #ask(method: string, url: string, body?: unknown): Promise<{ status: number; text: string }> {
    try {
      const response = await fetch(url, {
        method,
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
        ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
      });
      return { status: response.status, text: await response.text() };
    } catch (error) {
      return { status: 0, text: (error as Error).message };
    }
  }
}

/** More than the longest wait that is asked for. */
const ANSWER_TIMEOUT_MS = 30_000;

function codeOf(text: string): string {
  try {
    return String((JSON.parse(text) as { code?: unknown }).code);
  } catch {
    return 'none';
  }
}

/** The end itself: how its delivery stands is told beside it, and goes on to change. */
function endOf(text: string): string {
  return text.replace(/,"webhook_status":(null|"[a-z_]+")/, '');
}
