import type { ExecutionProvider, TensorDtype } from '@onqueue/shared';

/**
 * The port between the product and whatever computes a model. Tensors are plain typed arrays, so that an engine can be
 * replaced, or faked in a test, without anything else noticing.
 */
export type InferenceEngine = {
  readonly name: string;
  readonly version: string;
  /** Loads the artifact at an absolute path, for the cpu unless told. Rejects with the engine's own message when it cannot. */
  load(path: string, options: LoadOptions): Promise<EngineSession>;
};

export type LoadOptions = {
  intraOpNumThreads: number;
  executionProviders?: readonly ExecutionProvider[] | undefined;
  /** The device of those providers that can be told one. */
  deviceId?: number | undefined;
};

export type EngineSession = {
  readonly inputs: readonly GraphTensor[];
  readonly outputs: readonly GraphTensor[];
  /**
   * Computes the named outputs. Blocks the thread until the engine is done: nothing in this process can interrupt it.
   * Rejects for the batch as a whole, with the engine's own message.
   */
  run(feeds: Tensors, outputs: readonly string[]): Promise<Tensors>;
  /**
   * How many times each execution provider has computed an operator; may be asked once, after the first runs, and ends the
   * recording. Undefined where there was nothing but the cpu.
   */
  placement(): Promise<Placement | undefined>;
  /** Gives the engine's memory back; the session is unusable afterwards. */
  release(): Promise<void>;
};

export type Placement = Partial<Record<ExecutionProvider, number>>;

/** An input or output as the graph declares it; a string in `shape` is a dimension that may vary. */
export type GraphTensor = { name: string; dtype: string; shape: readonly (number | string)[] };

/** How JavaScript holds the elements of a dtype; a float16 as its bits, since not every Node has an array of them. */
export type TensorData = {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  int8: Int8Array;
  int16: Int16Array;
  int32: Int32Array;
  int64: BigInt64Array;
  uint8: Uint8Array;
  uint16: Uint16Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
  /** 0 and 1. */
  bool: Uint8Array;
  string: string[];
};

/** Row-major values; `data` has as many elements as `dims` multiply to. */
export type Tensor = {
  [Dtype in TensorDtype]: { dtype: Dtype; data: TensorData[Dtype]; dims: readonly number[] };
}[TensorDtype];

export type Tensors = { [name: string]: Tensor };
