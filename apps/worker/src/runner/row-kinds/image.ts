import { type ImagePreprocess, type ModelManifest, RowFailure } from '@onqueue/shared';
import type { Tensor } from '../inference-engine.ts';
import { ModelLoadError } from '../model-load-error.ts';
import { areaResample } from './area-resample.ts';
import { encodedImageBytes, type ImageLimits } from './encoded-image.ts';
import { lumaRows, type PixelImage } from './luma.ts';
import { photoWriter } from './photo.ts';
import type { PicturePlace } from './picture-place.ts';
import type { RowKind } from './row-kind.ts';

export type ImageDecoder = (bytes: Uint8Array, limits: ImageLimits) => Promise<PixelImage>;

type ImageManifest = Extract<ModelManifest, { kind: 'image' }>;

/**
 * Rows of one picture each, encoded (`image`) or as plain numbers (`pixels`), as one tensor `[batch, …]`. Must compute what
 * training computed, to the last step: see the golden rows of the model.
 */
export function imageRows(manifest: ImageManifest, decode: ImageDecoder): RowKind {
  const { preprocess } = manifest;
  const dtype = preprocess.type === 'photo' && manifest.inputs[0]?.dtype === 'uint8' ? 'uint8' : 'float32';
  const writer = preprocess.type === 'photo' ? photoWriter(preprocess, dtype) : inkWriter(preprocess);
  const { dims } = writer;
  const name = imageInput(manifest, dims, dtype);
  const length = dims.reduce((product, size) => product * size, 1);
  return {
    async prepare(rows) {
      const data = new (dtype === 'uint8' ? Uint8Array : Float32Array)(rows.length * length);
      const joined: number[] = [];
      const failures = new Map<number, RowFailure>();
      const places: (PicturePlace | undefined)[] = [];
      // One after the other: decoding several at once would take cores that belong to other runners.
      for (const [index, row] of rows.entries()) {
        try {
          const target = data.subarray(joined.length * length, (joined.length + 1) * length);
          places.push(await writeRow(row, { manifest, decode, writer, target }));
          joined.push(index);
        } catch (error) {
          if (!(error instanceof RowFailure)) throw error;
          failures.set(index, error);
        }
      }
      const batch = joined.length;
      return {
        feeds: { [name]: { dtype, data: data.subarray(0, batch * length), dims: [batch, ...dims] } as Tensor },
        joined,
        failures,
        places,
      };
    },
  };
}

/** The name of the only input. */
function imageInput({ inputs, preprocess, row }: ImageManifest, dims: readonly number[], dtype: string): string {
  const { width, height } = preprocess;
  const [input, ...others] = inputs;
  if (!input || others.length > 0 || input.dtype !== dtype || input.shape.slice(1).join() !== dims.join()) {
    throw new ModelLoadError(`An image model has one ${dtype} input of the shape [-1, ${dims.join(', ')}].`);
  }
  if (row.pixels && preprocess.type === 'photo') {
    throw new ModelLoadError('Rows of plain pixels are for preprocessing of the type "image".');
  }
  if (row.pixels && row.pixels.length !== width * height) {
    throw new ModelLoadError(
      `Rows have ${row.pixels.length} pixels, the input of ${width} x ${height} needs another number.`,
    );
  }
  return input.name;
}

/** Writes a picture into the part of the tensor that is its row's, and says where in it the picture lies. */
type PictureWriter = {
  /** Of a row of the tensor. */
  readonly dims: readonly number[];
  write(picture: PixelImage, target: Float32Array | Uint8Array): PicturePlace;
};

type Target = {
  manifest: ImageManifest;
  decode: ImageDecoder;
  writer: PictureWriter;
  target: Float32Array | Uint8Array;
};

/** Where the picture lies in the tensor; plain pixels lie where they are. */
async function writeRow(row: unknown, { manifest, decode, writer, target }: Target): Promise<PicturePlace | undefined> {
  const { pixels, image } = (row ?? {}) as { pixels?: unknown; image?: unknown };
  const { preprocess } = manifest;
  if (typeof image === 'string') {
    const limits = manifest.row.image;
    return writer.write(await decode(encodedImageBytes(image, limits), limits), target);
  }
  if (manifest.row.pixels && preprocess.type === 'image' && Array.isArray(pixels)) {
    writePixels(pixels, preprocess.pixel_scale, target);
    return undefined;
  }
  throw new RowFailure('invalid_row', `The row has no ${manifest.row.pixels ? 'image and no pixels' : 'image'}.`);
}

/** Brightness of 0…1, of the picture in the middle of a square. */
function inkWriter(preprocess: ImagePreprocess): PictureWriter {
  const { width, height, polarity } = preprocess;
  return {
    dims: [1, height, width],
    write(picture, target) {
      const means = areaResample(lumaRows(picture, polarity), preprocess);
      for (const [index, mean] of means.entries()) target[index] = Math.min(Math.max(mean / 255, 0), 1);
      const side = Math.max(picture.width, picture.height);
      const [scaleX, scaleY] = [width / side, height / side];
      return {
        width: picture.width,
        height: picture.height,
        scaleX,
        scaleY,
        offsetX: Math.floor((side - picture.width) / 2) * scaleX,
        offsetY: Math.floor((side - picture.height) / 2) * scaleY,
      };
    },
  };
}

function writePixels(pixels: readonly unknown[], scale: number, target: Float32Array | Uint8Array): void {
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
