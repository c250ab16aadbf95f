import type {
  ClaimedJob,
  Fallback,
  FallbackTrace,
  ModelManifest,
  Origin,
  ResultCache,
  RowResult,
} from '@onqueue/shared';
import type { BatchedRowOutcome, SubmitOptions } from '../batching/dynamic-batcher.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { ResultMemory } from './result-memory.ts';

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
  /** Names what it was asked, as whoever keeps its answers does. */
  memory: Pick<ResultMemory, 'keyOf'>;
  cache: Pick<ResultCache, 'read'>;
  /** The newest version unless one is named; undefined when this worker does not serve it. */
  standInOf: (name: string, version?: string) => StandIn | undefined;
  /** Rows that a fallback answered. */
  onAnswered: (type: Fallback['type'], rows: number) => void;
  /** The cache cannot be read: one fallback less, and nothing that a job fails for. */
  onError: (error: Error) => void;
}

export interface FallbackAnswers {
  /** By the number of the row; those that nothing answered are missing. */
  results: Map<number, RowResult>;
  /** What another model computed, and how. */
  computed: { origin: Origin; rows: BatchedRowOutcome[] } | undefined;
}

/**
 * The fallbacks that a version declares, tried in their order: what one does not answer is left to the next. A stand-in has none
 * of its own here, so that a chain ends.
 */
export class FallbackChain {
  readonly #options: FallbackChainOptions;
  readonly #list: readonly Fallback[];

  constructor(options: FallbackChainOptions) {
    this.#options = options;
    this.#list = options.manifest.fallbacks ?? [];
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
    const { cache, manifest, memory, onError } = this.#options;
    const { name: model, version } = manifest;
    try {
      const keys = rows.map((row) => memory.keyOf(tenant, inputs[row] ?? {}));
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
}

function answerOf(output: Record<string, unknown>, fallback: FallbackTrace): RowResult {
  return { status: 'succeeded', output, served_by: 'fallback', fallback };
}
