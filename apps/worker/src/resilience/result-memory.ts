import {
  type ClaimedJob,
  type Fallback,
  isFinalFaultOfRow,
  type KeptAnswer,
  type ModelManifest,
  type Origin,
  type ResultCache,
  resultKey,
  resultSource,
} from '@onqueue/shared';
import type { BatchedRowOutcome } from '../batching/dynamic-batcher.ts';
import { Coalescer } from '../queue/coalescer.ts';

export interface ResultMemoryOptions {
  manifest: ModelManifest;
  origin: () => Origin;
  cache: ResultCache;
  worker: string;
  /** What cannot be kept is computed again; nothing that a job fails for. */
  onError: (error: Error) => void;
}

/** Answers that go to Redis in one script. */
const MAX_PER_WRITE = 256;
/** An answer is given again for up to this share less than its time: those of one moment do not all go at once. */
const JITTER = 0.1;

/**
 * Keeps what a version answers, where its manifest wants that: for equal rows (`cache`), and for itself while it cannot compute (the
 * fallback `cached_result`). Rows that are bad are kept for equal ones too, since these fail alike.
 */
export class ResultMemory {
  readonly #options: ResultMemoryOptions;
  readonly #fallback: Extract<Fallback, { type: 'cached_result' }> | undefined;
  readonly #writes: Coalescer<KeptAnswer, undefined>;
  #source: string | undefined;

  constructor(options: ResultMemoryOptions) {
    this.#options = options;
    const { manifest, cache } = options;
    const { cache: policy, fallbacks = [] } = manifest;
    this.#fallback = fallbacks.find((fallback) => fallback.type === 'cached_result');
    const maxRows = Math.max(policy?.max_rows ?? 0, this.#fallback?.max_rows ?? 0);
    const maxAgeMs = Math.max(policy?.ttl_s ?? 0, this.#fallback?.max_age_s ?? 0) * 1000;
    this.#writes = new Coalescer({
      perform: async (answers) => {
        const source = policy ? this.#ownSource() : undefined;
        await cache.write(manifest, answers, { maxRows, maxAgeMs, source });
        return answers.map(() => undefined);
      },
      maxSize: MAX_PER_WRITE,
    });
  }

  /** Whether answers are given again to equal rows, so that none is computed twice at once. */
  get isReusing(): boolean {
    return this.#options.manifest.cache !== undefined;
  }

  keyOf(tenant: string, row: Record<string, unknown>): string {
    return resultKey(this.#ownSource(), tenant, row);
  }

  /** What the version answered before with other thresholds or weights is given no more. */
  async open(): Promise<void> {
    const { cache, manifest, onError } = this.#options;
    if (!this.isReusing) return;
    await cache.open(manifest, this.#ownSource()).catch(onError);
  }

  /**
   * Resolves when the answers can be found by those who wait for them; where nobody does, at once. Never rejects.
   */
  async remember({ tenant, inputs, request }: ClaimedJob, rows: readonly BatchedRowOutcome[]): Promise<void> {
    if ((!this.isReusing && !this.#fallback) || request.no_store) return;
    const writes = rows.flatMap((row, index) => {
      const input = inputs[index];
      const answer = input && this.#answerOf(row, this.keyOf(tenant, input));
      return answer ? this.#writes.add(answer).catch(this.#options.onError) : [];
    });
    if (this.isReusing) await Promise.all(writes);
  }

  #answerOf({ result, batch }: BatchedRowOutcome, key: string): KeptAnswer | undefined {
    const { manifest, origin, worker } = this.#options;
    const { cache } = manifest;
    const made = { origin: origin(), batch: { batch_size: batch.size, batches: 1, worker } };
    const reuse = cache ? { ttlMs: cache.ttl_s * 1000 * (1 - JITTER * Math.random()), ...made } : undefined;
    if (result.status === 'failed') {
      if (!reuse || !isFinalFaultOfRow(result.error.code)) return undefined;
      return { key, error: result.error, reuse };
    }
    if (result.served_by !== undefined) return undefined;
    const { output } = result;
    const isSmall = reuse && Buffer.byteLength(JSON.stringify(output)) <= (cache?.max_row_bytes ?? 0);
    if (!isSmall && !this.#fallback) return undefined;
    return { key, output, ...(isSmall ? { reuse } : {}) };
  }

  #ownSource(): string {
    this.#source ??= resultSource(this.#options.origin());
    return this.#source;
  }
}
