import { batchAxisOf, guessedTokens, type ModelManifest, type RowTensor, variableSizes } from '@onqueue/shared';

export interface LengthBucketsOptions {
  /** What a row has of sizes that vary. */
  tensors: readonly RowTensor[];
  /** Where the sizes of a row are not those of its nested arrays. */
  sizesOf?: (row: unknown) => number[];
  /** Rising upper bounds; none: powers of two. */
  bounds?: readonly number[];
  /** Elements of a batch with its padding, at most. */
  maxPaddedCost?: number;
}

/**
 * Which rows of varying length may share a batch. All rows of a batch cost what its longest one does, so those of one bucket
 * are alike: with powers of two the longest is less than twice as long as the shortest, and no row makes another wait
 * for more than twice what it would with its like. Beyond the last of given bounds, powers of two go on.
 */
export class LengthBuckets {
  readonly #options: LengthBucketsOptions;
  /** How many sizes each tensor has that vary. */
  readonly #dimensions: readonly number[];

  constructor(options: LengthBucketsOptions) {
    this.#options = options;
    this.#dimensions = options.tensors.map(({ shape }) => shape.filter((size) => size === -1).length);
  }

  /** All sizes of a row that vary. What is no row has none: the runner refuses it. */
  lengthsOf(row: unknown): number[] {
    if (this.#options.sizesOf) return this.#options.sizesOf(row);
    if (typeof row !== 'object' || row === null) return this.#dimensions.flatMap((count) => Array(count).fill(0));
    return this.#options.tensors.flatMap((tensor) =>
      variableSizes((row as Record<string, unknown>)[tensor.name], tensor),
    );
  }

  /** The same number for rows that may share a batch. */
  bucketOf(lengths: readonly number[]): number {
    return lengths.reduce((bucket, length) => bucket * MAX_BUCKETS + this.#bucketOf(length), 0);
  }

  /** What a row costs in a batch whose longest sizes are these: elements of its largest tensor, sizes that are fixed left out. */
  elementsOf(lengths: readonly number[]): number {
    let largest = 1;
    let next = 0;
    for (const count of this.#dimensions) {
      let elements = 1;
      for (const end = next + count; next < end; next++) elements *= lengths[next] ?? 1;
      largest = Math.max(largest, elements);
    }
    return largest;
  }

  /** Rows of these sizes that a batch may have; one is always let through. */
  rowsWithin(longest: readonly number[]): number {
    const { maxPaddedCost = Number.POSITIVE_INFINITY } = this.#options;
    return Math.max(1, Math.floor(maxPaddedCost / this.elementsOf(longest)));
  }

  #bucketOf(length: number): number {
    const { bounds = [] } = this.#options;
    const bucket = bounds.findIndex((bound) => length <= bound);
    if (bucket >= 0) return bucket;
    return bounds.length + Math.max(0, Math.ceil(Math.log2(Math.max(1, length) / (bounds.at(-1) ?? 1))));
  }
}

/** More than there are powers of two in a length, and bounds besides; its powers stay whole numbers for eight sizes. */
const MAX_BUCKETS = 64;

/** Undefined for rows that are not padded: they have one size, or the graph takes them one by one. */
export function lengthBucketsOf(manifest: ModelManifest): LengthBuckets | undefined {
  if (manifest.inputs.some(takesOneRow)) return undefined;
  if (manifest.kind === 'text') return textBucketsOf(manifest);
  if (manifest.kind !== 'tensor') return undefined;
  const tensors = manifest.row.tensors.filter(({ shape }) => shape.includes(-1));
  if (tensors.length === 0) return undefined;
  return new LengthBuckets({ tensors, ...limitsOf(manifest) });
}

/** By tokens, which the supervisor guesses. */
function textBucketsOf(manifest: Extract<ModelManifest, { kind: 'text' }>): LengthBuckets | undefined {
  const { inputs, row, preprocess } = manifest;
  if (!inputs.some(({ shape }) => shape[1] === -1)) return undefined;
  return new LengthBuckets({
    tensors: [{ name: preprocess.ids_input, dtype: 'int64', shape: [-1] }],
    sizesOf: (text) => [guessedTokens(text, row, preprocess.max_length)],
    ...limitsOf(manifest),
  });
}

function takesOneRow(input: ModelManifest['inputs'][number]): boolean {
  return batchAxisOf(input) !== 0 || input.shape[0] === 1;
}

function limitsOf({ batching }: ModelManifest): Pick<LengthBucketsOptions, 'bounds' | 'maxPaddedCost'> {
  const { length_buckets: bounds, max_padded_cost: maxPaddedCost } = batching;
  return {
    ...(bounds ? { bounds: bounds.toSorted((a, b) => a - b) } : {}),
    ...(maxPaddedCost ? { maxPaddedCost } : {}),
  };
}
