import type { EmbedPostprocess, ModelManifest, RowResult } from '@onqueue/shared';
import type { Tensor } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';
import { NON_FINITE } from './non-finite.ts';
import type { BatchPostprocess } from './postprocess.ts';

/** One vector a row: pooled over the tokens of the row itself, and of length 1 if it is to be. */
export function embeddingOutputs(manifest: ModelManifest, postprocess: EmbedPostprocess): BatchPostprocess {
  const { output, pooling, normalize, field } = postprocess;
  const rank = pooling === 'none' ? 2 : 3;
  assertRank(manifest, postprocess, rank);
  const lengthOf = lengthInput(manifest, postprocess);
  return {
    outputs: [output],
    results(fetches, batch, lengths) {
      const tensor = fetches[output];
      if (tensor?.dtype !== 'float32' || tensor.dims.length !== rank || tensor.dims[0] !== batch) {
        throw new Error(
          `Output "${output}" came back as ${tensor?.dtype} of [${tensor?.dims.join(', ')}] for ${batch} rows.`,
        );
      }
      const rowLengths = lengthOf === undefined ? undefined : lengths?.get(lengthOf);
      return Array.from({ length: batch }, (_, row): RowResult => {
        const vector = pooled(tensor, row, { pooling, length: rowLengths?.[row]?.[0] });
        if (normalize) normalizeInPlace(vector);
        if (!vector.every(Number.isFinite)) return NON_FINITE;
        return { status: 'succeeded', output: { [field]: Array.from(vector), dimensions: vector.length } };
      });
    },
  };
}

function assertRank({ outputs }: ModelManifest, { output, pooling }: EmbedPostprocess, rank: number): void {
  const spec = outputs.find(({ name }) => name === output);
  if (!spec) throw new ModelLoadError(`Postprocessing reads "${output}", which is no output of the manifest.`);
  if (spec.dtype !== 'float32') throw new ModelLoadError(`An embedding is float32; "${output}" is ${spec.dtype}.`);
  if (spec.shape.length === rank) return;
  throw new ModelLoadError(
    `Pooling "${pooling}" needs ${rank === 2 ? '[-1, dimensions]' : '[-1, tokens, dimensions]'}; "${output}" is [${spec.shape.join(', ')}].`,
  );
}

/** The input by whose length rows are pooled; undefined: over all that came back. */
function lengthInput(manifest: ModelManifest, { length_of: lengthOf, pooling }: EmbedPostprocess): string | undefined {
  if (manifest.kind === 'text') {
    if (lengthOf !== undefined)
      throw new ModelLoadError('length_of is for rows of tensors: text is as long as its tokens.');
    return manifest.preprocess.ids_input;
  }
  if (lengthOf === undefined || pooling === 'none') return undefined;
  const tensor = manifest.kind === 'tensor' ? manifest.row.tensors.find(({ name }) => name === lengthOf) : undefined;
  if (!tensor?.shape.includes(-1)) {
    throw new ModelLoadError(
      `An embedding is to be as long as "${lengthOf}", which is no tensor of the row that varies.`,
    );
  }
  return lengthOf;
}

function pooled(
  { data, dims }: Extract<Tensor, { dtype: 'float32' }>,
  row: number,
  { pooling, length }: { pooling: EmbedPostprocess['pooling']; length: number | undefined },
): Float64Array {
  const dimensions = dims.at(-1) ?? 0;
  const padded = pooling === 'none' ? 1 : (dims[1] ?? 0);
  const start = row * padded * dimensions;
  const vector = Float64Array.from(data.subarray(start, start + dimensions));
  if (pooling === 'none' || pooling === 'cls') return vector;
  // Padding is behind the tokens of the row, so that its length is its attention mask.
  const tokens = Math.min(length ?? padded, padded);
  for (let token = 1; token < tokens; token++) {
    const offset = start + token * dimensions;
    for (let index = 0; index < dimensions; index++) {
      const value = data[offset + index] as number;
      const before = vector[index] as number;
      vector[index] = pooling === 'mean' ? before + value : Math.max(before, value);
    }
  }
  return pooling === 'mean' ? vector.map((sum) => sum / tokens) : vector;
}

/** A vector of zeros has no direction, and stays as it is. */
function normalizeInPlace(vector: Float64Array): void {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  if (length === 0) return;
  for (const [index, value] of vector.entries()) vector[index] = value / length;
}
