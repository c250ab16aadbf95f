import type { PhotoPreprocess } from '@onqueue/shared';
import { ModelLoadError } from '../model-load-error.ts';
import { imageFailure } from './encoded-image.ts';
import type { PixelImage } from './luma.ts';
import { type PictureFit, pictureFit } from './picture-fit.ts';
import type { PicturePlace } from './picture-place.ts';
import { type PixelRows, pillowResample } from './pillow-resample.ts';

const DEFAULT_MAX_ASPECT_RATIO = 100;

/** Writes pictures into tensors as common training pipelines do: bytes as Pillow resizes them, then `(value · scale - mean) / std`. */
export function photoWriter(preprocess: PhotoPreprocess, dtype: 'float32' | 'uint8' = 'float32') {
  if (dtype === 'uint8' && (preprocess.scale ?? preprocess.mean ?? preprocess.std) !== undefined) {
    throw new ModelLoadError('An input of uint8 takes the bytes as they are, without scale, mean and std.');
  }
  const { width, height, layout, resample } = preprocess;
  const channels = preprocess.color === 'grayscale' ? 1 : 3;
  const tables = Array.from({ length: channels }, (_, channel) =>
    valueTable(dtype === 'uint8' ? { ...preprocess, scale: 1 } : preprocess, channel),
  );
  const padding = padPixel(preprocess);
  /** Between two pixels, and between two channels of one. */
  const [pixelStride, channelStride] = layout === 'NHWC' ? [channels, 1] : [1, width * height];

  return {
    dims: layout === 'NHWC' ? [height, width, channels] : [channels, height, width],
    write(picture: PixelImage, target: Float32Array | Uint8Array): PicturePlace {
      assertAspectRatio(picture, preprocess);
      const fit = pictureFit(picture, preprocess);
      const pixels = pillowResample(pixelRows(picture, preprocess), resample, fit.x, fit.y);
      for (const [channel, table] of tables.entries()) {
        // The bytes are in the order red, green, blue, whatever that of the tensor is.
        const from = preprocess.color === 'bgr' ? channels - 1 - channel : channel;
        const start = channel * channelStride;
        for (let at = 0; at < width * height; at++) target[start + at * pixelStride] = table[padding[from] ?? 0] ?? 0;
        for (let y = 0; y < fit.y.length; y++) {
          let read = y * fit.x.length * channels + from;
          let at = start + ((fit.y.at + y) * width + fit.x.at) * pixelStride;
          for (let x = 0; x < fit.x.length; x++, read += channels, at += pixelStride) {
            target[at] = table[pixels[read] ?? 0] ?? 0;
          }
        }
      }
      return placeOf(picture, fit);
    },
  };
}

/** What becomes of each of the 256 bytes in a channel of the tensor. */
function valueTable({ scale = 1 / 255, mean = 0, std = 1 }: PhotoPreprocess, channel: number): Float32Array {
  const of = (value: number | number[]) => (Array.isArray(value) ? (value[channel] ?? 0) : value);
  return Float32Array.from({ length: 256 }, (_, byte) => (byte * scale - of(mean)) / of(std));
}

function padPixel({ color, pad_color: padColor = 0 }: PhotoPreprocess): number[] {
  const [red, green, blue] = colorOf(padColor);
  return color === 'grayscale' ? [luma(red, green, blue)] : [red, green, blue];
}

function colorOf(color: number | number[]): [number, number, number] {
  if (!Array.isArray(color)) return [color, color, color];
  const [red = 0, green = 0, blue = 0] = color;
  return [red, green, blue];
}

/** Pillow's `convert("L")`. */
function luma(red: number, green: number, blue: number): number {
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

/** The bytes of a picture without alpha, in one or three channels. */
function pixelRows(image: PixelImage, preprocess: PhotoPreprocess): PixelRows {
  const { width, height, channels } = image;
  const colors = new Uint8Array(width * 3);
  const readColors = (y: number, target: Uint8Array) => {
    const row = image.data.subarray(y * width * channels, (y + 1) * width * channels);
    if (channels === 3) target.set(row);
    else writeColors({ row, channels, target }, preprocess);
  };
  if (preprocess.color !== 'grayscale') return { width, height, channels: 3, readRow: readColors };
  return {
    width,
    height,
    channels: 1,
    readRow(y, target) {
      readColors(y, colors);
      for (let x = 0, at = 0; x < width; x++, at += 3) {
        target[x] = luma(colors[at] ?? 0, colors[at + 1] ?? 0, colors[at + 2] ?? 0);
      }
    },
  };
}

/** Red, green and blue of each pixel, on the background where it is transparent. */
function writeColors(
  { row, channels, target }: { row: Uint8Array; channels: number; target: Uint8Array },
  { alpha = 'composite', background = 255 }: PhotoPreprocess,
): void {
  const isColored = channels > 2;
  const hasAlpha = channels % 2 === 0 && alpha !== 'drop';
  const under = colorOf(background);
  for (let from = 0, to = 0; from < row.length; from += channels, to += 3) {
    const opacity = hasAlpha ? (row[from + channels - 1] ?? 0) : 255;
    if (opacity !== 255 && alpha === 'refuse') throw imageFailure('invalid_image', 'The image is transparent in part.');
    for (let channel = 0; channel < 3; channel++) {
      const value = row[isColored ? from + channel : from] ?? 0;
      target[to + channel] =
        opacity === 255 ? value : Math.round((value * opacity + (under[channel] ?? 0) * (255 - opacity)) / 255);
    }
  }
}

function assertAspectRatio({ width, height }: PixelImage, preprocess: PhotoPreprocess): void {
  const { max_aspect_ratio: most = DEFAULT_MAX_ASPECT_RATIO } = preprocess;
  if (Math.max(width, height) <= most * Math.min(width, height)) return;
  throw imageFailure(
    'image_too_large',
    `The image has ${width} x ${height} pixels, and may be ${most} times as long as wide.`,
  );
}

function placeOf({ width, height }: PixelImage, { x, y }: PictureFit): PicturePlace {
  const scaleX = x.size / (x.to - x.from);
  const scaleY = y.size / (y.to - y.from);
  return {
    width,
    height,
    scaleX,
    scaleY,
    offsetX: x.at - x.first - x.from * scaleX,
    offsetY: y.at - y.first - y.from * scaleY,
  };
}
