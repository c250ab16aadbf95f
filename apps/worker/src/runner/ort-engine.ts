import { tensorDtype } from '@onqueue/shared';
import * as ort from 'onnxruntime-node';
import type { EngineSession, GraphTensor, InferenceEngine, Placement, Tensor, Tensors } from './inference-engine.ts';
import { OrtProfile } from './ort-profile.ts';
import { isCpuAlone, sessionProviders } from './session-providers.ts';

/** ONNX Runtime. The only file of the product that imports onnxruntime-node. */
export const ortEngine: InferenceEngine = {
  name: 'onnxruntime-node',
  version: ort.env.versions.node ?? ort.env.versions.common,
  load: async (path, { intraOpNumThreads, executionProviders = ['cpu'], deviceId }) => {
    requireBackends(executionProviders);
    // What a provider does not take goes to the cpu without a word; only the profile tells.
    const profile = isCpuAlone(executionProviders) ? undefined : await OrtProfile.open();
    try {
      const session = await ort.InferenceSession.create(path, {
        executionProviders: sessionProviders(executionProviders, deviceId),
        ...profile?.sessionOptions,
        // Unset, both mean "every core of the machine", in each of the runners.
        intraOpNumThreads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        // A spinning thread takes six times the CPU between short batches, from the other runners of the machine.
        extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
        // Fatal only: an error is thrown as well, and as a line of the log it would show a stranger's values.
        logSeverityLevel: 4,
      });
      return new OrtSession(session, profile);
    } catch (error) {
      await profile?.discard();
      throw error;
    }
  },
};

/** ONNX Runtime strikes what it was built without from a list, says nothing, and goes on with the rest. */
function requireBackends(names: readonly string[]): void {
  const known = new Set(ort.listSupportedBackends().map(({ name }) => name));
  const missing = names.filter((name) => !known.has(name));
  if (missing.length === 0) return;
  throw new Error(`onnxruntime-node has no ${missing.join(', ')} for ${process.platform} ${process.arch}`);
}

class OrtSession implements EngineSession {
  readonly inputs: readonly GraphTensor[];
  readonly outputs: readonly GraphTensor[];
  readonly #session: ort.InferenceSession;
  readonly #profile: OrtProfile | undefined;

  constructor(session: ort.InferenceSession, profile: OrtProfile | undefined) {
    this.#session = session;
    this.#profile = profile;
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

  async placement(): Promise<Placement | undefined> {
    if (!this.#profile) return undefined;
    this.#session.endProfiling();
    return this.#profile.read();
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
