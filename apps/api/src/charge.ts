import {
  type Allowance,
  type AllowanceState,
  type ChargeOutcome,
  isLimited,
  Problem,
  type RateLimits,
  type TenantQuotas,
} from '@onqueue/shared';
import type { Response } from 'express';
import { callerOf } from './auth/caller.ts';

/** Gives back what was charged for a job that was not accepted. Never rejects. */
export type Refund = () => Promise<void>;

/**
 * Charges the caller for a job's rows, and says in the answer what is left. Who has no limits is asked nothing.
 * @throws Problem rate_limited, quota_exceeded
 */
export async function charge(
  limits: RateLimits,
  response: Response,
  quotas: TenantQuotas,
  rows: number,
): Promise<Refund> {
  const { tenant, keyId, limits: ofKey } = callerOf(response);
  const allowance: Allowance = {
    tenant,
    keyId,
    rowsPerS: ofKey.rows_per_s,
    burstRows: ofKey.burst_rows,
    jobsPerDay: quotas.jobs_per_day,
    rowsPerDay: quotas.rows_per_day,
  };
  if (!isLimited(allowance)) return async () => {};
  const outcome = await limits.charge(allowance, rows);
  response.set('RateLimit-Policy', outcome.states.map(policyItem).join(', '));
  response.set('RateLimit', outcome.states.map(limitItem).join(', '));
  if (outcome.status === 'refused') throw refusal(outcome);
  // What cannot be given back now is back with time.
  return () => limits.refund(allowance, rows).catch(() => {});
}

/** As draft-ietf-httpapi-ratelimit-headers has them. */
function policyItem({ name, quota, windowS }: AllowanceState): string {
  return `"${name}";q=${quota};w=${windowS}`;
}

function limitItem({ name, remaining, resetS }: AllowanceState): string {
  return `"${name}";r=${remaining};t=${resetS}`;
}

function refusal({ refusedBy, retryAfterS }: Extract<ChargeOutcome, { status: 'refused' }>): Problem {
  const { name, quota, windowS, remaining } = refusedBy;
  if (name === 'rows') {
    const detail = `The key has ${remaining} of ${quota} rows left, and gets ${quota} in ${windowS} s.`;
    return new Problem('rate_limited', `${detail} Try again in ${retryAfterS} s.`, { retryAfterS });
  }
  const what = name === 'jobs_per_day' ? 'jobs' : 'rows';
  const detail = `The tenant has ${remaining} of ${quota} ${what} left today (UTC); this job is more.`;
  return new Problem('quota_exceeded', detail, { retryAfterS });
}
