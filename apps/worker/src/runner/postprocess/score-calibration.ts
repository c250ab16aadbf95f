import type { ScoreCalibration } from '@onqueue/shared';
import { sigmoid } from './activation.ts';

/** From a score to a calibrated probability; NaN stays NaN. */
export function scoreCalibrator(calibration: ScoreCalibration | undefined): (score: number) => number {
  if (!calibration) return (score) => score;
  if (calibration.type === 'isotonic') return interpolator(calibration);
  const { a, b } = calibration;
  return (score) => sigmoid(-(a * score + b));
}

function interpolator({ x, y }: Extract<ScoreCalibration, { type: 'isotonic' }>): (score: number) => number {
  const last = x.length - 1;
  return (score) => {
    if (Number.isNaN(score)) return score;
    if (score <= (x[0] ?? 0)) return y[0] ?? 0;
    if (score >= (x[last] ?? 0)) return y[last] ?? 0;
    const right = firstAbove(x, score);
    const [x0, x1, y0, y1] = [x[right - 1], x[right], y[right - 1], y[right]] as [number, number, number, number];
    return y0 + ((score - x0) / (x1 - x0)) * (y1 - y0);
  };
}

/** The position of the first number above a value, in rising order. */
function firstAbove(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
