import type { ExecutionProvider } from '@onqueue/shared';

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

/** Row-major values; `data` has as many elements as `dims` multiply to. */
export type Tensor =
  | { dtype: 'float32'; data: Float32Array; dims: readonly number[] }
  | { dtype: 'int64'; data: BigInt64Array; dims: readonly number[] }
  | { dtype: 'string'; data: string[]; dims: readonly number[] };

export type Tensors = { [name: string]: Tensor };
