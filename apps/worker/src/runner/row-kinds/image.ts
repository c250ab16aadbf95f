import { type ModelManifest, RowFailure } from '@onqueue/shared';
import { ModelLoadError } from '../model-load-error.ts';
import { areaResample } from './area-resample.ts';
import { encodedImageBytes, type ImageLimits } from './encoded-image.ts';
import { lumaRows, type PixelImage } from './luma.ts';
import type { RowKind } from './row-kind.ts';

export type ImageDecoder = (bytes: Uint8Array, limits: ImageLimits) => Promise<PixelImage>;

type ImageManifest = Extract<ModelManifest, { kind: 'image' }>;

/**
 * Rows of one picture each, encoded (`image`) or as plain numbers (`pixels`), as one tensor `[batch, 1, height, width]`
 * of 0…1. Must compute what training computed, to the last step: see the golden rows of the model.
 */
export function imageRows(manifest: ImageManifest, decode: ImageDecoder): RowKind {
  const { name, dims } = imageInput(manifest);
  const { width, height } = manifest.preprocess;
  const length = width * height;
  return {
    async prepare(rows) {
      const data = new Float32Array(rows.length * length);
      const joined: number[] = [];
      const failures = new Map<number, RowFailure>();
      // One after the other: decoding several at once would take cores that belong to other runners.
      for (const [index, row] of rows.entries()) {
        try {
          const target = data.subarray(joined.length * length, (joined.length + 1) * length);
          await writeRow(row, { manifest, decode, target });
          joined.push(index);
        } catch (error) {
          if (!(error instanceof RowFailure)) throw error;
          failures.set(index, error);
        }
      }
      const batch = joined.length;
      return {
        feeds: { [name]: { dtype: 'float32', data: data.subarray(0, batch * length), dims: [batch, ...dims] } },
        joined,
        failures,
      };
    },
  };
}

/** The name and the dimensions after the batch of the only input. */
function imageInput({ inputs, preprocess, row }: ImageManifest): { name: string; dims: number[] } {
  const { width, height } = preprocess;
  const [input, ...others] = inputs;
  const dims = input?.shape.slice(1) ?? [];
  if (!input || others.length > 0 || input.dtype !== 'float32' || dims.join() !== [1, height, width].join()) {
    throw new ModelLoadError(`An image model has one float32 input of the shape [-1, 1, ${height}, ${width}].`);
  }
  if (row.pixels && row.pixels.length !== width * height) {
    throw new ModelLoadError(
      `Rows have ${row.pixels.length} pixels, the input of ${width} x ${height} needs another number.`,
    );
  }
  return { name: input.name, dims };
}

type Target = { manifest: ImageManifest; decode: ImageDecoder; target: Float32Array };

async function writeRow(row: unknown, { manifest, decode, target }: Target): Promise<void> {
  const { pixels, image } = (row ?? {}) as { pixels?: unknown; image?: unknown };
  if (typeof image === 'string') {
    const limits = manifest.row.image;
    writePicture(await decode(encodedImageBytes(image, limits), limits), manifest.preprocess, target);
  } else if (manifest.row.pixels && Array.isArray(pixels)) {
    writePixels(pixels, manifest.preprocess.pixel_scale, target);
  } else {
    throw new RowFailure('invalid_row', `The row has no ${manifest.row.pixels ? 'image and no pixels' : 'image'}.`);
  }
}

function writePicture(picture: PixelImage, preprocess: ImageManifest['preprocess'], target: Float32Array): void {
  const means = areaResample(lumaRows(picture, preprocess.polarity), preprocess);
  for (const [index, mean] of means.entries()) target[index] = Math.min(Math.max(mean / 255, 0), 1);
}

function writePixels(pixels: readonly unknown[], scale: number, target: Float32Array): void {
  if (pixels.length !== target.length) {
    throw new RowFailure('invalid_row', `The row has ${pixels.length} pixels, not ${target.length}.`, {
      pointer: '/pixels',
    });
  }
  for (const [index, pixel] of pixels.entries()) {
    if (typeof pixel !== 'number' || !Number.isFinite(Math.fround(pixel / scale))) {
      throw new RowFailure('invalid_row', 'A pixel is not a number.', { pointer: `/pixels/${index}` });
    }
    target[index] = pixel / scale;
  }
}
