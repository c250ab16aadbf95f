import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { areaResample, type RowSource } from './area-resample.ts';

/** The definition, pixel by pixel and cell by cell, over a square that is really built. */
function reference({ width, height, values }: Picture, target: { width: number; height: number }): number[] {
  const side = Math.max(width, height);
  const left = Math.floor((side - width) / 2);
  const top = Math.floor((side - height) / 2);
  const overlap = (pixel: number, cell: number, cells: number) =>
    Math.max(0, Math.min(((cell + 1) * side) / cells, pixel + 1) - Math.max((cell * side) / cells, pixel));
  return Array.from({ length: target.width * target.height }, (_, k) => {
    const [i, j] = [Math.floor(k / target.width), k % target.width];
    let sum = 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const area = overlap(top + y, i, target.height) * overlap(left + x, j, target.width);
        sum += (values[y * width + x] ?? 0) * area;
      }
    }
    return (sum * target.width * target.height) / (side * side);
  });
}

type Picture = { width: number; height: number; values: number[] };

function rowsOf({ width, height, values }: Picture): RowSource {
  return {
    width,
    height,
    readRow: (y, target) => target.set(values.slice(y * width, (y + 1) * width)),
  };
}

const size = fc.record({ width: fc.integer({ min: 1, max: 23 }), height: fc.integer({ min: 1, max: 23 }) });
const picture = size.chain(({ width, height }) => {
  const length = width * height;
  const values = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: length, maxLength: length });
  return fc.record({ width: fc.constant(width), height: fc.constant(height), values });
});

test('averages the exact area of every cell, up and down, of any shape', () => {
  fc.assert(
    fc.property(picture, size, (source, target) => {
      const expected = reference(source, target);
      const actual = areaResample(rowsOf(source), target);
      expect(actual).toHaveLength(expected.length);
      for (const [k, value] of actual.entries()) expect(value).toBeCloseTo(expected[k] ?? Number.NaN, 9);
    }),
  );
});

test('a line of four million pixels needs neither its square nor a row twice', () => {
  let rows = 0;
  const source: RowSource = {
    width: 1,
    height: 4_000_000,
    readRow: (_, target) => {
      rows++;
      target[0] = 255;
    },
  };
  const cells = areaResample(source, { width: 8, height: 8 });
  expect(rows).toBe(4_000_000);
  expect(cells.reduce((sum, cell) => sum + cell, 0) / 64).toBeCloseTo(255 / 4_000_000, 12);
});
