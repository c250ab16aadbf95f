import type { ModelManifest, RowFailure } from '@onqueue/shared';
import type { Tensors } from '../inference-engine.ts';
import { loadModelModule } from '../model-module.ts';
import { customRows } from './custom-rows.ts';
import type { PicturePlace } from './picture-place.ts';
import { tabularColumns } from './tabular-columns.ts';
import { tensorRows } from './tensor-rows.ts';

/** How the rows of one kind of model become tensors. */
export type RowKind = {
  /** Takes each row on its own: one that cannot become a tensor is left out of the batch and told in `failures`. */
  prepare(rows: readonly unknown[]): Promise<PreparedRows>;
};

type PreparedRows = {
  /** The tensors of the rows that joined, first dimension `joined.length`. */
  feeds: Tensors;
  /** Position in the batch → position in `rows`. */
  joined: readonly number[];
  /** Position in `rows` → why it did not join. */
  failures: ReadonlyMap<number, RowFailure>;
  /** By input, of each row that joined: the sizes of the dimensions that vary, before it was padded. */
  lengths?: VariableLengths;
  /** Of each row that joined: how its picture lies in the tensor; undefined of plain pixels. */
  places?: readonly (PicturePlace | undefined)[];
};

export type VariableLengths = ReadonlyMap<string, readonly (readonly number[])[]>;

/** The row kind of a manifest; `folder` has the files that it names. Rejects when its inputs are not what its rows can become. */
export async function rowKindOf(manifest: ModelManifest, folder: string): Promise<RowKind> {
  if (manifest.kind === 'tabular') return tabularColumns(manifest);
  if (manifest.kind === 'tensor') return tensorRows(manifest);
  if (manifest.kind === 'text') return (await import('./text.ts')).textRows(manifest, folder);
  if (manifest.kind === 'custom') return customRows(manifest, await loadModelModule(manifest.preprocess, folder));
  // libvips costs ~30 ms and ~15 MB: only the runners of image models load it.
  const { imageRows } = await import('./image.ts');
  const { decodeImage } = await import('./image-decoder.ts');
  return imageRows(manifest, decodeImage);
}
