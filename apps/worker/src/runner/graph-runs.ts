import { batchAxisOf, type ModelManifest, type TensorSpec } from '@onqueue/shared';
import type { Tensor, Tensors } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';
import { rowsOf, withCopiesOfLastRow } from './tensor-data.ts';

/**
 * How the rows of a batch are spread over runs of the graph. Row kinds make tensors with the rows in front, and postprocessing reads
 * such; a graph may want another number of rows, or have its batch elsewhere or nowhere.
 *
 * - The batch is in front everywhere, and of any size: one run for all.
 * - In front, of a fixed size: as many runs as that takes, the last one filled up with copies of its last row.
 * - Elsewhere, or some tensor has none: a run for each row.
 */
export class GraphRuns {
  readonly #inputs: readonly TensorSpec[];
  readonly #outputs: readonly TensorSpec[];
  readonly #fixedRows: number | undefined;
  /** Rows of a run at most. */
  readonly rowsPerRun: number;

  /** `read`: the outputs that matter. Throws a {@link ModelLoadError} when the tensors disagree about the batch. */
  constructor({ inputs, outputs }: Pick<ModelManifest, 'inputs' | 'outputs'>, read: readonly string[]) {
    this.#inputs = inputs;
    this.#outputs = outputs.filter(({ name }) => read.includes(name));
    const specs = [...inputs, ...this.#outputs];
    const isInFront = specs.every((spec) => batchAxisOf(spec) === 0);
    this.#fixedRows = fixedRowsOf(specs);
    if (!isInFront && this.#fixedRows !== undefined && this.#fixedRows !== 1) {
      throw new ModelLoadError(
        `A graph that fixes its batch at ${this.#fixedRows} must have it as the first dimension of every tensor; here rows cannot be told apart.`,
      );
    }
    this.rowsPerRun = isInFront ? (this.#fixedRows ?? Number.POSITIVE_INFINITY) : 1;
  }

  /** What the engine gets for the tensors of some rows. */
  feedsOf(prepared: Tensors): Tensors {
    const feeds: Tensors = { ...prepared };
    for (const spec of this.#inputs) {
      const tensor = prepared[spec.name];
      if (tensor) feeds[spec.name] = this.#feedOf(spec, tensor);
    }
    return feeds;
  }

  /** What postprocessing gets of a run for so many rows. */
  rowsOf(fetches: Tensors, rows: number): Tensors {
    const answers: Tensors = {};
    for (const spec of this.#outputs) {
      const tensor = fetches[spec.name];
      if (tensor) answers[spec.name] = this.#answerOf(spec, tensor, rows);
    }
    return answers;
  }

  #feedOf(spec: TensorSpec, tensor: Tensor): Tensor {
    const axis = batchAxisOf(spec);
    if (axis === 0) return this.#fixedRows === undefined ? tensor : withCopiesOfLastRow(tensor, this.#fixedRows);
    // A single row: where its dimension of 1 stands makes no difference to the data.
    const [, ...dims] = tensor.dims;
    return { ...tensor, dims: axis === null ? dims : dims.toSpliced(axis, 0, 1) };
  }

  #answerOf(spec: TensorSpec, tensor: Tensor, rows: number): Tensor {
    const axis = batchAxisOf(spec);
    if (axis === null) return { ...tensor, dims: [1, ...tensor.dims] };
    if (axis > 0) return { ...tensor, dims: [tensor.dims[axis] ?? 0, ...tensor.dims.toSpliced(axis, 1)] };
    return this.#fixedRows !== undefined && tensor.dims[0] === this.#fixedRows ? rowsOf(tensor, 0, rows) : tensor;
  }
}

function fixedRowsOf(specs: readonly TensorSpec[]): number | undefined {
  const fixed = specs.flatMap((spec) => {
    const axis = batchAxisOf(spec);
    const size = axis === null ? -1 : (spec.shape[axis] ?? -1);
    return size === -1 ? [] : [{ name: spec.name, size }];
  });
  const [first] = fixed;
  const other = fixed.find(({ size }) => size !== first?.size);
  if (other || first?.size === 0) {
    const listed = fixed.map(({ name, size }) => `"${name}" ${size}`).join(', ');
    throw new ModelLoadError(`The graph takes different numbers of rows in a batch: ${listed}.`);
  }
  return first?.size;
}
