import { RowFailure, type RowResult } from '@onqueue/shared';

/** How a row ends whose output is no number that JSON has, where the manifest does not allow that. */
export const NON_FINITE: RowResult = {
  status: 'failed',
  error: new RowFailure('non_finite_output', 'The model answered NaN or infinity for this row.').toRowError(),
};
