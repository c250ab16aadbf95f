/** What a job is charged against; what is undefined has no limit. */
export interface Allowance {
  tenant: string;
  /** Undefined where nobody has a key: then there is no rate. */
  keyId: string | undefined;
  rowsPerS: number | undefined;
  /** Rows that may come at once; those of one second unless given. */
  burstRows: number | undefined;
  jobsPerDay: number | undefined;
  rowsPerDay: number | undefined;
}

/** What is left of one limit. */
export interface AllowanceState {
  name: 'rows' | 'jobs_per_day' | 'rows_per_day';
  /** In `windowS` seconds. */
  quota: number;
  windowS: number;
  remaining: number;
  /** Until all of it is there again. */
  resetS: number;
}

export type ChargeOutcome =
  | { status: 'charged'; states: AllowanceState[] }
  /** Nothing was charged. `retryAfterS`: when the same would pass, if nobody else comes. */
  | { status: 'refused'; refusedBy: AllowanceState; retryAfterS: number; states: AllowanceState[] };

/**
 * Token buckets of keys and quotas of tenants, for all APIs together. A job of more rows than a burst passes when the bucket is
 * full, and leaves it in debt: else it never could.
 */
export interface RateLimits {
  charge(allowance: Allowance, rows: number): Promise<ChargeOutcome>;
  /** Gives back what was charged for a job that was not accepted. */
  refund(allowance: Allowance, rows: number): Promise<void>;
}

/** Whether anything has to be asked for. */
export function isLimited({ keyId, rowsPerS, jobsPerDay, rowsPerDay }: Allowance): boolean {
  return (keyId !== undefined && rowsPerS !== undefined) || jobsPerDay !== undefined || rowsPerDay !== undefined;
}
