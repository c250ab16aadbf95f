import type { BatchCurvePoint } from '@onqueue/shared';

/** Weight of the newest batch in the moving averages. */
const NEWEST = 0.2;
/** One batch says no more than this about all others, however long it took. */
const MAX_SURPRISE = 8;
/** Batches of one row take so much longer at times, of which a batch of more should not be the worse. */
const TOLERANCE = 1.1;

interface Point {
  rows: number;
  ms: number;
}

/**
 * How long a batch of so many rows computes: by the curve of the calibration, corrected by what batches took since; or, without
 * a curve, by what batches of about that size took.
 */
export class BatchTime {
  #curve: readonly Point[] = [];
  /** How much longer batches take than the curve says. */
  #factor = 1;
  /** By the power of two that their rows are rounded up to. */
  readonly #seen = new Map<number, Point>();

  /** There is a new measurement, by rising batch size. */
  adopt(curve: readonly BatchCurvePoint[]): void {
    this.#curve = curve.map(({ batch_size: rows, compute_ms: ms }) => ({ rows, ms }));
    this.#factor = 1;
  }

  /** A batch of so many rows computed for so long. */
  learn(rows: number, ms: number): void {
    const curveMs = interpolate(this.#curve, rows);
    if (curveMs !== undefined) {
      if (curveMs === 0) return;
      const surprise = Math.min(MAX_SURPRISE, Math.max(1 / MAX_SURPRISE, ms / (curveMs * this.#factor)));
      this.#factor *= 1 + NEWEST * (surprise - 1);
      return;
    }
    const size = 2 ** Math.ceil(Math.log2(rows));
    const point = this.#seen.get(size);
    if (!point) {
      this.#seen.set(size, { rows, ms });
    } else {
      point.rows += NEWEST * (rows - point.rows);
      point.ms += NEWEST * (ms - point.ms);
    }
  }

  /** Undefined while nothing is known. */
  estimateMs(rows: number): number | undefined {
    const ms = interpolate(this.#points, rows);
    return ms === undefined ? undefined : ms * this.#factor;
  }

  /**
   * The most rows, of `max` at most, that should compute within `ms`; as many as take no longer than one row, where that
   * takes longer already. Sizes beyond those that are known are tried in steps of two.
   */
  rowsWithin(ms: number, max: number): number {
    const points = this.#points;
    const last = points.at(-1);
    if (!last) return 1;
    const limitMs = Math.max(ms, TOLERANCE * (this.estimateMs(1) ?? 0)) / this.#factor;
    if (last.ms <= limitMs) return Math.min(max, Math.max(1, Math.floor(last.rows * (this.#isMeasured ? 1 : 2))));
    let rows = 1;
    for (const [index, upper] of points.entries()) {
      const lower = points[index - 1];
      if (upper.ms <= limitMs) {
        rows = upper.rows;
      } else {
        if (lower && lower.ms <= limitMs) {
          rows = lower.rows + ((upper.rows - lower.rows) * (limitMs - lower.ms)) / (upper.ms - lower.ms);
        }
        break;
      }
    }
    return Math.min(max, Math.max(1, Math.floor(rows)));
  }

  get #isMeasured(): boolean {
    return this.#curve.length > 0;
  }

  get #points(): readonly Point[] {
    return this.#isMeasured ? this.#curve : [...this.#seen.values()].sort((a, b) => a.rows - b.rows);
  }
}

/** Between two points a line; beyond the last in proportion to the rows; before the first no less than that. */
function interpolate(points: readonly Point[], rows: number): number | undefined {
  let lower: Point | undefined;
  for (const upper of points) {
    if (rows <= upper.rows) {
      if (!lower) return upper.ms;
      return lower.ms + ((upper.ms - lower.ms) * (rows - lower.rows)) / (upper.rows - lower.rows);
    }
    lower = upper;
  }
  return lower && (lower.ms * rows) / lower.rows;
}
