import { tensorDtype } from '@onqueue/shared';
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
  // One constructor overload per dtype; that data and dtype belong together is what the type of a Tensor says.
  return new ort.Tensor(dtype as 'float32', data as Float32Array, dims);
}

function fromOrt(name: string, tensor: ort.Tensor | undefined): Tensor {
  if (!tensor) throw new Error(`Output "${name}" did not come back. This is a bug.`);
  const { type, data, dims } = tensor;
  const dtype = tensorDtype.safeParse(type);
  if (!dtype.success) throw new Error(`Output "${name}" is of the type ${type}, which the manifest has no name for.`);
  if (dtype.data !== 'float16') return { dtype: dtype.data, data, dims } as Tensor;
  // A Float16Array on a Node that has one.
  const { buffer, byteOffset, length } = data as Uint16Array;
  return { dtype: 'float16', data: new Uint16Array(buffer, byteOffset, length), dims };
}
