import type { BatchCurvePoint } from '@onqueue/shared';

/** How much of the best throughput is given up for smaller batches, whose rows wait less for each other. */
const KNEE_TOLERANCE = 0.05;

/**
 * The smallest batch size that has, up to {@link KNEE_TOLERANCE}, the best throughput of the curve. So a model that gains
 * nothing from batches gets batches of 1, and one that loses beyond a size never goes there.
 * @throws Error for an empty curve.
 */
export function findKnee(curve: readonly BatchCurvePoint[]): BatchCurvePoint {
  const best = Math.max(...curve.map(({ rows_per_s }) => rows_per_s));
  const [knee] = curve
    .filter(({ rows_per_s }) => rows_per_s >= best * (1 - KNEE_TOLERANCE))
    .toSorted((a, b) => a.batch_size - b.batch_size);
  if (!knee) throw new Error('A curve without points has no knee. This is a bug.');
  return knee;
}
