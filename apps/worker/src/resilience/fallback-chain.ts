import { createHash } from 'node:crypto';
import {
  type ClaimedJob,
  canonicalJson,
  type Fallback,
  type FallbackTrace,
  type ModelManifest,
  type Origin,
  type ResultCache,
  type RowResult,
} from '@onqueue/shared';
import type { BatchedRowOutcome, SubmitOptions } from '../batching/dynamic-batcher.ts';
import { Coalescer } from '../queue/coalescer.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';

/** A version of another model that answers in the place of one that cannot. */
export interface StandIn {
  submit(rows: readonly unknown[], options: SubmitOptions): Promise<BatchedRowOutcome[]>;
  /** The row as this model takes it; undefined when it does not. */
  adapt(row: Record<string, unknown>): Record<string, unknown> | undefined;
  origin: Origin;
  circuit: Pick<CircuitBreaker, 'state'>;
}

export interface FallbackChainOptions {
  manifest: ModelManifest;
  /** What must be equal for an answer of before to be an answer of now. */
  origin: () => Origin;
  cache: ResultCache;
  /** The newest version unless one is named; undefined when this worker does not serve it. */
  standInOf: (name: string, version?: string) => StandIn | undefined;
  /** Rows that a fallback answered. */
  onAnswered: (type: Fallback['type'], rows: number) => void;
  /** The cache cannot be read or written: one fallback less, and nothing that a job fails for. */
  onError: (error: Error) => void;
}

export interface FallbackAnswers {
  /** By the number of the row; those that nothing answered are missing. */
  results: Map<number, RowResult>;
  /** What another model computed, and how. */
  computed: { origin: Origin; rows: BatchedRowOutcome[] } | undefined;
}

/** Answers that go to Redis in one script. */
const MAX_PER_WRITE = 256;

/**
 * The fallbacks that a version declares, tried in their order: what one does not answer is left to the next. A stand-in has none
 * of its own here, so that a chain ends.
 */
export class FallbackChain {
  readonly #options: FallbackChainOptions;
  readonly #list: readonly Fallback[];
  readonly #cached: Extract<Fallback, { type: 'cached_result' }> | undefined;
  readonly #writes: Coalescer<{ key: string; output: Record<string, unknown> }, undefined>;
  #identity: string | undefined;

  constructor(options: FallbackChainOptions) {
    const { manifest, cache } = options;
    this.#options = options;
    this.#list = manifest.fallbacks ?? [];
    this.#cached = this.#list.find((fallback) => fallback.type === 'cached_result');
    const { max_rows: maxRows = 0, max_age_s: maxAgeS = 0 } = this.#cached ?? {};
    this.#writes = new Coalescer({
      perform: async (outputs) => {
        await cache.write(manifest, outputs, { maxRows, maxAgeMs: maxAgeS * 1000 });
        return outputs.map(() => undefined);
      },
      maxSize: MAX_PER_WRITE,
    });
  }

  get isEmpty(): boolean {
    return this.#list.length === 0;
  }

  /** The models that it needs beside. */
  get standIns(): readonly Extract<Fallback, { type: 'model' }>[] {
    return this.#list.filter((fallback) => fallback.type === 'model');
  }

  /** Whether a row that nothing answers fails at once, instead of waiting for its model. */
  get isLastWord(): boolean {
    return this.#list.at(-1)?.type === 'unavailable';
  }

  /** Keeps what the model answered, where a fallback is declared that needs it. */
  remember({ tenant, inputs }: ClaimedJob, results: readonly RowResult[]): void {
    if (!this.#cached) return;
    for (const [row, result] of results.entries()) {
      const input = inputs[row];
      if (result.status !== 'succeeded' || result.served_by !== undefined || input === undefined) continue;
      this.#writes.add({ key: this.#keyOf(tenant, input), output: result.output }).catch(this.#options.onError);
    }
  }

  /** Answers rows of a job, by their numbers. Never rejects. */
  async answer(job: ClaimedJob, rows: readonly number[], options: SubmitOptions): Promise<FallbackAnswers> {
    const answers: FallbackAnswers = { results: new Map(), computed: undefined };
    for (const fallback of this.#list) {
      const left = rows.filter((row) => !answers.results.has(row));
      if (left.length === 0) break;
      const before = answers.results.size;
      if (fallback.type === 'cached_result') await this.#fromCache(job, left, fallback, answers);
      else if (fallback.type === 'model') await this.#fromModel(job, left, fallback, options, answers);
      else if (fallback.type === 'static') {
        for (const row of left) answers.results.set(row, answerOf(fallback.output, { type: 'static' }));
      }
      const answered = answers.results.size - before;
      if (answered > 0) this.#options.onAnswered(fallback.type, answered);
    }
    return answers;
  }

  async #fromCache(
    { tenant, inputs }: ClaimedJob,
    rows: readonly number[],
    { max_age_s: maxAgeS }: Extract<Fallback, { type: 'cached_result' }>,
    { results }: FallbackAnswers,
  ): Promise<void> {
    const { cache, manifest, onError } = this.#options;
    const { name: model, version } = manifest;
    try {
      const keys = rows.map((row) => this.#keyOf(tenant, inputs[row] ?? {}));
      const found = await cache.read(manifest, keys, maxAgeS * 1000);
      for (const [index, row] of rows.entries()) {
        const cached = found[index];
        if (!cached) continue;
        const ageS = Math.round(cached.ageMs) / 1000;
        results.set(row, answerOf(cached.output, { type: 'cached_result', model, version, age_s: ageS }));
      }
    } catch (error) {
      onError(error as Error);
    }
  }

  async #fromModel(
    { inputs }: ClaimedJob,
    rows: readonly number[],
    { name, version }: Extract<Fallback, { type: 'model' }>,
    options: SubmitOptions,
    answers: FallbackAnswers,
  ): Promise<void> {
    const standIn = this.#options.standInOf(name, version);
    if (!standIn || standIn.circuit.state === 'open') return;
    const adapted = rows.flatMap((row) => {
      const input = standIn.adapt(inputs[row] ?? {});
      return input ? [{ row, input }] : [];
    });
    if (adapted.length === 0) return;
    const outcomes = await standIn.submit(
      adapted.map(({ input }) => input),
      options,
    );
    const trace: FallbackTrace = { type: 'model', model: standIn.origin.model, version: standIn.origin.version };
    const computed: BatchedRowOutcome[] = [];
    for (const [index, { row }] of adapted.entries()) {
      const outcome = outcomes[index];
      if (outcome?.result.status !== 'succeeded') continue;
      answers.results.set(row, answerOf(outcome.result.output, trace));
      computed.push(outcome);
    }
    if (computed.length > 0) answers.computed ??= { origin: standIn.origin, rows: computed };
  }

  /** Of one tenant: what others asked is not to be guessed from what is quick to come. */
  #keyOf(tenant: string, input: Record<string, unknown>): string {
    this.#identity ??= identityOf(this.#options.origin());
    return createHash('sha256')
      .update(`${this.#identity}\n${tenant}\n${canonicalJson(input)}`)
      .digest('base64url');
  }
}

function answerOf(output: Record<string, unknown>, fallback: FallbackTrace): RowResult {
  return { status: 'succeeded', output, served_by: 'fallback', fallback };
}

function identityOf({ artifact_sha256, preprocess_sha256, decision_policy_sha256 }: Origin): string {
  return `${artifact_sha256} ${preprocess_sha256} ${decision_policy_sha256}`;
}
