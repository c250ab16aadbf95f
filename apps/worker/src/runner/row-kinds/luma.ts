import type { ImagePreprocess } from '@onqueue/shared';
import type { RowSource } from './area-resample.ts';

/**
 * Row-major pixels of one byte a channel: 1 is grey, 2 grey and alpha, 3 red, green and blue, 4 these and alpha. Alpha
 * is not premultiplied.
 */
export type PixelImage = { width: number; height: number; channels: 1 | 2 | 3 | 4; data: Uint8Array };

/**
 * The brightness (0…255, unrounded) of a picture on white, in the model's polarity. `auto` is for models that were
 * trained on bright ink: a picture with a bright border is dark ink on paper, and is inverted.
 */
export function lumaRows(image: PixelImage, polarity: ImagePreprocess['polarity']): RowSource {
  const isInverted = polarity === 'invert' || (polarity === 'auto' && borderMean(image) > 127.5);
  const { width, height } = image;
  return {
    width,
    height,
    readRow(y, target) {
      readLuma(image, { from: y * width, stride: 1, target });
      if (isInverted) for (let x = 0; x < width; x++) target[x] = 255 - (target[x] ?? 0);
    },
  };
}

/** Fills `target` with the brightness of every `stride`-th pixel from pixel `from` on. */
function readLuma(
  { data, channels }: PixelImage,
  { from, stride, target }: { from: number; stride: number; target: Float64Array },
): void {
  // Everything that is the same for all pixels is decided here: this loop is most of the time of a large picture.
  const hasAlpha = channels % 2 === 0;
  const green = channels > 2 ? 1 : 0;
  const blue = channels > 2 ? 2 : 0;
  const step = stride * channels;
  for (let i = 0, at = from * channels; i < target.length; i++, at += step) {
    let r = data[at] ?? 0;
    let g = data[at + green] ?? 0;
    let b = data[at + blue] ?? 0;
    const alpha = hasAlpha ? (data[at + channels - 1] ?? 0) : 255;
    if (alpha !== 255) {
      const white = 255 * (255 - alpha);
      r = (r * alpha + white) / 255;
      g = (g * alpha + white) / 255;
      b = (b * alpha + white) / 255;
    }
    target[i] = 0.299 * r + 0.587 * g + 0.114 * b;
  }
}

/** Over the outermost pixels, each counted once. */
function borderMean(image: PixelImage): number {
  const { width, height } = image;
  const row = new Float64Array(width);
  const column = new Float64Array(Math.max(height - 2, 0));
  let sum = 0;
  const add = (target: Float64Array, from: number, stride: number) => {
    readLuma(image, { from, stride, target });
    for (const luma of target) sum += luma;
  };
  add(row, 0, 1);
  if (height > 1) add(row, (height - 1) * width, 1);
  add(column, width, width);
  if (width > 1) add(column, 2 * width - 1, width);
  const rows = Math.min(height, 2) * width;
  const columns = Math.min(width, 2) * column.length;
  return sum / (rows + columns);
}
