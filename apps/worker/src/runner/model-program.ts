import type { ModelManifest, RowResult } from '@onqueue/shared';
import { GraphRuns } from './graph-runs.ts';
import { assertGraphMatches } from './graph-signature.ts';
import type { EngineSession, Tensors } from './inference-engine.ts';
import { loadPostprocess } from './load-postprocess.ts';
import type { BatchPostprocess } from './postprocess.ts';
import { type RowKind, rowKindOf } from './row-kinds/row-kind.ts';

type BatchTimings = { preprocess_ms: number; inference_ms: number; postprocess_ms: number };

/** `results` are in the order of the rows. */
export type ProgramBatch = { results: RowResult[]; timings: BatchTimings };

/**
 * The engine refused a batch as a whole, and does not say which row was at fault: whoever formed the batch halves it
 * until it knows.
 */
export class EngineBatchError extends Error {
  override readonly name = 'EngineBatchError';

  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
  }

  /** Memory that was short now may not be short later; everything else that an engine says, it says again. */
  get code(): 'inference_failed' | 'out_of_memory' {
    return this.message.includes('Failed to allocate memory') ? 'out_of_memory' : 'inference_failed';
  }
}

/** A loaded model together with the way into it and out of it: rows in, row results out. */
export class ModelProgram {
  readonly #session: EngineSession;
  readonly #rowKind: RowKind;
  readonly #postprocess: BatchPostprocess;
  readonly #runs: GraphRuns;

  private constructor(
    session: EngineSession,
    rowKind: RowKind,
    postprocess: BatchPostprocess,
    manifest: ModelManifest,
  ) {
    this.#session = session;
    this.#rowKind = rowKind;
    this.#postprocess = postprocess;
    this.#runs = new GraphRuns(manifest, postprocess.outputs);
  }

  /** Rejects with a `ModelLoadError` when the manifest contradicts itself or the graph. */
  static async create(options: {
    manifest: ModelManifest;
    session: EngineSession;
    /** Absolute path of the version's folder. */
    folder: string;
  }): Promise<ModelProgram> {
    const { manifest, session, folder } = options;
    assertGraphMatches(manifest, session);
    const postprocess = await loadPostprocess(manifest, folder);
    return new ModelProgram(session, await rowKindOf(manifest, folder), postprocess, manifest);
  }

  /**
   * Computes a batch of any size. A row that cannot be preprocessed, or whose output is not finite, fails alone;
   * throws an {@link EngineBatchError} when the engine fails, which says nothing about any single row.
   */
  async run(rows: readonly unknown[]): Promise<ProgramBatch> {
    const { rowsPerRun } = this.#runs;
    if (rows.length <= rowsPerRun) return this.#run(rows);
    const results: RowResult[] = [];
    const timings = { preprocess_ms: 0, inference_ms: 0, postprocess_ms: 0 };
    for (let start = 0; start < rows.length; start += rowsPerRun) {
      const part = await this.#run(rows.slice(start, start + rowsPerRun));
      results.push(...part.results);
      for (const phase of Object.keys(timings) as (keyof BatchTimings)[]) timings[phase] += part.timings[phase];
    }
    return { results, timings };
  }

  release(): Promise<void> {
    return this.#session.release();
  }

  /** No more rows than the graph takes at once. */
  async #run(rows: readonly unknown[]): Promise<ProgramBatch> {
    const started = performance.now();
    const { feeds, joined, failures, lengths, places } = await this.#rowKind.prepare(rows);
    const prepared = performance.now();
    const fetches = joined.length > 0 ? await this.#infer(feeds) : undefined;
    const inferred = performance.now();

    const answers = fetches && this.#runs.rowsOf(fetches, joined.length);
    const context = { rows: joined.map((index) => rows[index]), places };
    const computed = answers ? this.#postprocess.results(answers, joined.length, lengths, context) : [];
    const results = new Array<RowResult>(rows.length);
    for (const [index, failure] of failures) results[index] = { status: 'failed', error: failure.toRowError() };
    for (const [position, result] of computed.entries()) results[joined[position] as number] = result;
    const timings = {
      preprocess_ms: prepared - started,
      inference_ms: inferred - prepared,
      postprocess_ms: performance.now() - inferred,
    };
    return { results, timings };
  }

  async #infer(feeds: Tensors): Promise<Tensors> {
    try {
      return await this.#session.run(this.#runs.feedsOf(feeds), this.#postprocess.outputs);
    } catch (error) {
      throw new EngineBatchError(error);
    }
  }
}
