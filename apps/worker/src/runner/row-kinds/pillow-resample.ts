/** Rows of `channels` bytes a pixel, read one after the other: `readRow` writes all of row `y` into `target`. */
export type PixelRows = {
  width: number;
  height: number;
  channels: number;
  readRow(y: number, target: Uint8Array): void;
};

export type Resampling = 'nearest' | 'box' | 'bilinear' | 'bicubic' | 'lanczos';

/**
 * One axis: the part `from … to` of the source, in pixels and fractions of them, becomes `size` pixels, of which those of
 * `first … first + length` are wanted.
 */
export type Axis = { from: number; to: number; size: number; first: number; length: number };

/**
 * Resizes as Pillow does (`Image.resize` with a box, its 8-bit arithmetic included), so that a tensor is made of the same
 * bytes as in training: along the rows, rounded to a byte, then along the columns. Every row of the source is read once and nothing
 * is as large as the source; what is computed is the wanted window alone.
 */
export function pillowResample(source: PixelRows, method: Resampling, x: Axis, y: Axis): Uint8Array {
  if (method === 'nearest') return nearest(source, x, y);
  const { channels } = source;
  const columns = coefficients(x, source.width, FILTERS[method]);
  const rows = coefficients(y, source.height, FILTERS[method]);
  const pixels = new Uint8Array(source.width * channels);
  const narrowed = new Uint8Array(x.length * channels);
  const sums = new Int32Array(y.length * narrowed.length).fill(HALF);

  let begun = 0;
  for (let at = rows[0]?.first ?? 0; begun < rows.length; at++) {
    source.readRow(at, pixels);
    narrow(pixels, channels, columns, narrowed);
    for (let i = begun; i < rows.length; i++) {
      const { first, weights } = rows[i] as Span;
      if (first > at) break;
      addScaled(sums, i * narrowed.length, narrowed, weights[at - first] ?? 0);
      // The rows of the result end in the order in which they begin.
      if (at === first + weights.length - 1 && i === begun) begun++;
    }
  }
  return Uint8Array.from(sums, toByte);
}

/** Pillow's fixed point: what is left of 32 bits beside a byte and two bits for sums that swing over. */
const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);

function toByte(sum: number): number {
  return Math.min(Math.max(sum >> PRECISION_BITS, 0), 255);
}

type Filter = { support: number; weightAt(x: number): number };

const FILTERS: Record<Exclude<Resampling, 'nearest'>, Filter> = {
  box: { support: 0.5, weightAt: (x) => Number(x > -0.5 && x <= 0.5) },
  bilinear: { support: 1, weightAt: (x) => Math.max(1 - Math.abs(x), 0) },
  bicubic: { support: 2, weightAt: (x) => cubic(Math.abs(x)) },
  lanczos: { support: 3, weightAt: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

const CUBIC_A = -0.5;

function cubic(x: number): number {
  if (x < 1) return ((CUBIC_A + 2) * x - (CUBIC_A + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * CUBIC_A : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** The source pixels that a pixel of the result is made of, with fixed-point weights. */
type Span = { first: number; weights: Int32Array };

function coefficients({ from, to, size, first, length }: Axis, sourceSize: number, filter: Filter): Span[] {
  const scale = (to - from) / size;
  const filterScale = Math.max(scale, 1);
  const support = filter.support * filterScale;
  return Array.from({ length }, (_, index) => {
    const center = from + (first + index + 0.5) * scale;
    const start = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), sourceSize);
    const weights = Float64Array.from({ length: end - start }, (_, pixel) =>
      filter.weightAt((pixel + start - center + 0.5) / filterScale),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0) || 1;
    return { first: start, weights: Int32Array.from(weights, (weight) => fixedPoint(weight / sum)) };
  });
}

function fixedPoint(weight: number): number {
  return Math.trunc(weight * (1 << PRECISION_BITS) + (weight < 0 ? -0.5 : 0.5));
}

function narrow(pixels: Uint8Array, channels: number, columns: readonly Span[], target: Uint8Array): void {
  let at = 0;
  for (const { first, weights } of columns) {
    for (let channel = 0; channel < channels; channel++) {
      let sum = HALF;
      let pixel = first * channels + channel;
      for (let k = 0; k < weights.length; k++, pixel += channels) sum += (pixels[pixel] ?? 0) * (weights[k] ?? 0);
      target[at++] = toByte(sum);
    }
  }
}

function addScaled(sums: Int32Array, from: number, values: Uint8Array, weight: number): void {
  for (let k = 0; k < values.length; k++) sums[from + k] = (sums[from + k] ?? 0) + (values[k] ?? 0) * weight;
}

function nearest(source: PixelRows, x: Axis, y: Axis): Uint8Array {
  const { channels } = source;
  const columns = nearestPixels(x, source.width);
  const pixels = new Uint8Array(source.width * channels);
  const result = new Uint8Array(y.length * x.length * channels);
  let at = 0;
  let read = -1;
  for (const row of nearestPixels(y, source.height)) {
    if (row !== read) source.readRow(row, pixels);
    read = row;
    for (const column of columns) {
      for (let channel = 0; channel < channels; channel++) result[at++] = pixels[column * channels + channel] ?? 0;
    }
  }
  return result;
}

function nearestPixels({ from, to, size, first, length }: Axis, sourceSize: number): Int32Array {
  const scale = (to - from) / size;
  return Int32Array.from({ length }, (_, index) =>
    Math.min(Math.max(Math.trunc(from + (first + index + 0.5) * scale), 0), sourceSize - 1),
  );
}
