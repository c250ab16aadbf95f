import * as ort from 'onnxruntime-node';
import type { EngineSession, GraphTensor, InferenceEngine, Tensor, Tensors } from './inference-engine.ts';

/** ONNX Runtime on the CPU. The only file of the product that imports onnxruntime-node. */
export const ortEngine: InferenceEngine = {
  name: 'onnxruntime-node',
  version: ort.env.versions.node ?? ort.env.versions.common,
  load: async (path, { intraOpNumThreads }) =>
    new OrtSession(
      await ort.InferenceSession.create(path, {
        executionProviders: ['cpu'],
        // Unset, both mean "every core of the machine", in each of the runners.
        intraOpNumThreads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        // A spinning thread takes six times the CPU between short batches, from the other runners of the machine.
        extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
        // Fatal only: an error is thrown as well, and as a line of the log it would show a stranger's values.
        logSeverityLevel: 4,
      }),
    ),
};

class OrtSession implements EngineSession {
  readonly executionProvider = 'cpu';
  readonly inputs: readonly GraphTensor[];
  readonly outputs: readonly GraphTensor[];
  readonly #session: ort.InferenceSession;

  constructor(session: ort.InferenceSession) {
    this.#session = session;
    this.inputs = session.inputMetadata.map(graphTensor);
    this.outputs = session.outputMetadata.map(graphTensor);
  }

  async run(feeds: Tensors, outputs: readonly string[]): Promise<Tensors> {
    const ortFeeds: Record<string, ort.Tensor> = {};
    for (const [name, tensor] of Object.entries(feeds)) ortFeeds[name] = toOrt(tensor);
    const ortFetches = await this.#session.run(ortFeeds, outputs);
    const fetches: Tensors = {};
    for (const name of outputs) fetches[name] = fromOrt(name, ortFetches[name]);
    return fetches;
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

function graphTensor(metadata: ort.InferenceSession.ValueMetadata): GraphTensor {
  return metadata.isTensor
    ? { name: metadata.name, dtype: metadata.type, shape: metadata.shape }
    : { name: metadata.name, dtype: 'sequence or map', shape: [] };
}

/** Copies nothing: ONNX Runtime reads the typed array in place. */
function toOrt({ dtype, data, dims }: Tensor): ort.Tensor {
  // One constructor overload per dtype: the union has to be taken apart for the compiler.
  if (dtype === 'float32') return new ort.Tensor(dtype, data, dims);
  if (dtype === 'int64') return new ort.Tensor(dtype, data, dims);
  return new ort.Tensor(dtype, data, dims);
}

function fromOrt(name: string, tensor: ort.Tensor | undefined): Tensor {
  const { type, data, dims } = tensor ?? {};
  if (type === 'float32' || type === 'int64' || type === 'string') return { dtype: type, data, dims } as Tensor;
  throw new Error(`Output "${name}" is of the type ${type}, which the manifest has no name for.`);
}
