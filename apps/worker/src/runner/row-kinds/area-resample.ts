/**
 * A grayscale picture that is read a row at a time, so that nobody has to hold it as float64: `readRow` writes `width`
 * values of row `y` into `target`.
 */
export type RowSource = { width: number; height: number; readRow(y: number, target: Float64Array): void };

/**
 * Centres the picture on a square of zeros whose side is the longer of its own, and averages the square over the cells
 * of a `height` x `width` grid: each cell is the mean of the exact area that it covers, pixels weighted by their part in
 * it. Row-major result. Works up and down alike.
 *
 * The square is never built, and every source row is read once: O(pixels + cells) time, O(width) memory, also for a
 * picture of 1 x 4,000,000.
 */
export function areaResample(source: RowSource, target: { width: number; height: number }): Float64Array {
  const side = Math.max(source.width, source.height);
  const columns = coverage({ side, content: source.width, cells: target.width });
  const rows = coverage({ side, content: source.height, cells: target.height });

  const pixels = new Float64Array(source.width);
  const narrowed = new Float64Array(target.width);
  const result = new Float64Array(target.width * target.height);
  let narrowedRow = -1;
  for (const [i, cell] of rows.entries()) {
    const output = result.subarray(i * target.width, (i + 1) * target.width);
    for (let y = cell.first; y <= cell.last; y++) {
      // Neighbouring cells share at most the row on their border (all of them the same one when enlarging).
      if (y !== narrowedRow) {
        source.readRow(y, pixels);
        narrow(pixels, columns, narrowed);
        narrowedRow = y;
      }
      addScaled(output, narrowed, weightIn(cell, y));
    }
  }
  const cellArea = (side / target.width) * (side / target.height);
  for (let k = 0; k < result.length; k++) result[k] = (result[k] ?? 0) / cellArea;
  return result;
}

/** The pixels `first…last` of the content that a cell touches, and how much of the outer two it covers; none: last < first. */
type Cell = { first: number; last: number; firstWeight: number; lastWeight: number };

/** Along one axis: which pixels of the content lie in which cell of the padded square. */
function coverage({ side, content, cells }: { side: number; content: number; cells: number }): Cell[] {
  const offset = Math.floor((side - content) / 2);
  return Array.from({ length: cells }, (_, i) => {
    const from = Math.max((i * side) / cells - offset, 0);
    const to = Math.min(((i + 1) * side) / cells - offset, content);
    if (to <= from) return { first: 0, last: -1, firstWeight: 0, lastWeight: 0 };
    const first = Math.floor(from);
    const last = Math.ceil(to) - 1;
    return { first, last, firstWeight: Math.min(first + 1, to) - from, lastWeight: to - Math.max(last, from) };
  });
}

function weightIn(cell: Cell, pixel: number): number {
  if (pixel === cell.first) return cell.firstWeight;
  return pixel === cell.last ? cell.lastWeight : 1;
}

function narrow(pixels: Float64Array, cells: readonly Cell[], target: Float64Array): void {
  for (const [j, cell] of cells.entries()) {
    const { first, last, firstWeight, lastWeight } = cell;
    let sum = last < first ? 0 : (pixels[first] ?? 0) * firstWeight;
    for (let x = first + 1; x < last; x++) sum += pixels[x] ?? 0;
    if (last > first) sum += (pixels[last] ?? 0) * lastWeight;
    target[j] = sum;
  }
}

function addScaled(target: Float64Array, values: Float64Array, weight: number): void {
  for (let k = 0; k < target.length; k++) target[k] = (target[k] ?? 0) + (values[k] ?? 0) * weight;
}
