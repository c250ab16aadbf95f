import { dirname, join, normalize } from 'node:path';
import type { ModelManifest } from '@onqueue/shared';
import { fileSha256 } from '../models/artifact.ts';
import { readGoldenRows } from '../models/golden-rows.ts';
import { checkArtifactSize, checkModelFile } from '../models/model-file-check.ts';
import { outlineOf } from '../onnx/graph-outline.ts';
import type { InferenceEngine } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';
import { EngineBatchError, ModelProgram } from './model-program.ts';
import { openSession } from './open-session.ts';
import { BatchOutputError, limitOutputs } from './output-limit.ts';
import type { ReceivedMessage, RunnerMessage } from './runner-protocol.ts';
import { tryRow, warmUp } from './warm-up.ts';

export type RunnerServiceOptions = { engine: InferenceEngine; send: Send };

/** Resolves when the message is on its way as a whole, however busy this process is from then on. */
type Send = (message: RunnerMessage) => Promise<void>;

/**
 * The runner's side of the conversation.
 *
 * empty -- load --> loading -- loaded --> serving; loading -- load_failed --> empty, until the supervisor ends the
 * process. Serving, each `run` or `probe` is answered by one `result`, `batch_failed` or, if it was dropped before, `dropped`.
 */
export class RunnerService {
  readonly #engine: InferenceEngine;
  readonly #send: Send;
  readonly #dropped = new Set<number>();
  #lastId = 0;
  #program: ModelProgram | undefined;
  /** A row that the model answered when it was loaded. */
  #goldenInput: unknown;
  #maxOutputValues = Number.POSITIVE_INFINITY;

  constructor({ engine, send }: RunnerServiceOptions) {
    this.#engine = engine;
    this.#send = send;
  }

  async load(message: Extract<ReceivedMessage, { type: 'load' }>): Promise<void> {
    try {
      const loaded = await this.#load(message);
      await this.#send({ type: 'loaded', ...loaded });
    } catch (error) {
      await this.#send({ type: 'load_failed', detail: error instanceof Error ? error.message : String(error) });
    }
  }

  async inspect({ path, intraOpNumThreads, filePolicy }: Extract<ReceivedMessage, { type: 'inspect' }>): Promise<void> {
    const { name, version } = this.#engine;
    try {
      await checkModelFile({ folder: dirname(path), path, policy: filePolicy });
      const session = await this.#engine.load(path, { intraOpNumThreads });
      const [inputs, outputs] = [session.inputs, session.outputs].map((tensors) =>
        tensors.map((tensor) => ({ ...tensor, shape: [...tensor.shape] })),
      );
      await session.release();
      await this.#send({ type: 'inspected', runtime: { name, version }, inputs: inputs ?? [], outputs: outputs ?? [] });
    } catch (error) {
      await this.#send({ type: 'load_failed', detail: error instanceof Error ? error.message : String(error) });
    }
  }

  async outline({ path, filePolicy }: Extract<ReceivedMessage, { type: 'outline' }>): Promise<void> {
    try {
      const model = await checkModelFile({ folder: dirname(path), path, policy: filePolicy });
      if (!model)
        throw new ModelLoadError(`${path} is in the ORT format, of which only the engine knows what is in it.`);
      await this.#send({ type: 'outlined', outline: outlineOf(model) });
    } catch (error) {
      await this.#send({ type: 'load_failed', detail: error instanceof Error ? error.message : String(error) });
    }
  }

  run({ id, rows }: Extract<ReceivedMessage, { type: 'run' }>): Promise<void> {
    return this.#run(id, rows);
  }

  probe({ id }: Extract<ReceivedMessage, { type: 'probe' }>): Promise<void> {
    return this.#run(id, [this.#goldenInput]);
  }

  /** Of use only as long as the batch has not begun. */
  drop({ id }: Extract<ReceivedMessage, { type: 'drop' }>): void {
    if (id > this.#lastId) this.#dropped.add(id);
  }

  async release(): Promise<void> {
    await this.#program?.release();
    this.#program = undefined;
  }

  async #run(id: number, rows: readonly unknown[]): Promise<void> {
    if (!this.#program) throw new Error('A batch came before the model was loaded. This is a bug.');
    this.#lastId = id;
    if (this.#dropped.delete(id)) return this.#send({ type: 'dropped', id });
    return this.#send(await this.#compute(this.#program, id, rows));
  }

  async #compute(program: ModelProgram, id: number, rows: readonly unknown[]): Promise<RunnerMessage> {
    const cpuBefore = process.cpuUsage();
    try {
      const { results: answers, timings } = await program.run(rows);
      const results = limitOutputs(answers, this.#maxOutputValues);
      const { user, system } = process.cpuUsage(cpuBefore);
      const cpu_ms = (user + system) / 1000;
      return { type: 'result', id, results, timings, cpu_ms, rss_bytes: process.memoryUsage.rss() };
    } catch (error) {
      // Whatever it was, it came from these rows: the runner serves on, and whoever formed the batch finds the row.
      const code = batchErrorCode(error);
      const detail = error instanceof Error ? error.message : String(error);
      return { type: 'batch_failed', id, code, detail };
    }
  }

  async #load(message: Extract<ReceivedMessage, { type: 'load' }>) {
    const { folder, manifest, intraOpNumThreads, execution, golden, filePolicy: policy } = message;
    const started = performance.now();
    const { artifact } = manifest;
    const path = join(folder, artifact.file);
    await checkArtifactSize({ path, policy });
    await mustHaveSha256(folder, artifact);
    // Here and not in the supervisor: who reads a file that was made to be read for ever may be killed for it.
    const model = await checkModelFile({ folder, path, policy });
    mustBeHashed(artifact, model?.externalData ?? []);
    for (const data of artifact.data ?? []) await mustHaveSha256(folder, data);
    const opened = await openSession({ engine: this.#engine, path, intraOpNumThreads, execution });
    const { session } = opened;
    const program = await ModelProgram.create({ manifest, session, folder });
    const loaded = performance.now();

    if (golden === 'must_match') {
      const expected = manifest.golden;
      if (expected) {
        const rows = await readGoldenRows(join(folder, expected.file));
        const maxBatchSize = manifest.batching.max_batch_size;
        await warmUp({ program, rows, tolerance: expected.tolerance, maxBatchSize });
        this.#goldenInput = rows[0]?.input;
      } else {
        await tryRow(program, manifest.example);
        this.#goldenInput = manifest.example;
      }
    }
    this.#program = program;
    this.#maxOutputValues = policy.maxOutputValues;
    return {
      runtime: { name: this.#engine.name, version: this.#engine.version },
      ...(await opened.whatComputed()),
      load_ms: loaded - started,
      warmup_ms: performance.now() - loaded,
      rss_bytes: process.memoryUsage.rss(),
    };
  }
}

/** Answers that are too large are for smaller batches, as is a lack of memory. */
function batchErrorCode(error: unknown): 'inference_failed' | 'out_of_memory' {
  if (error instanceof BatchOutputError) return 'out_of_memory';
  return error instanceof EngineBatchError ? error.code : 'inference_failed';
}

async function mustHaveSha256(folder: string, { file, sha256 }: { file: string; sha256: string }): Promise<void> {
  const path = join(folder, file);
  const actual = await fileSha256(path);
  if (actual !== sha256) throw new ModelLoadError(`${path} has the SHA-256 ${actual}, the manifest says ${sha256}.`);
}

/** Weights of which the manifest knows nothing would be missing from what every result says of its making. */
function mustBeHashed(
  { file, data = [] }: ModelManifest['artifact'],
  externalData: readonly { location: string }[],
): void {
  const missing = externalData.find(
    ({ location }) => !data.some((known) => normalize(known.file) === join(dirname(file), location)),
  );
  if (!missing) return;
  throw new ModelLoadError(
    `${file} has weights in "${missing.location}", which the manifest has to name with its SHA-256 in artifact.data.`,
  );
}
