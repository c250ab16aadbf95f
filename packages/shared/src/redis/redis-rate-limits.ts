import type { Allowance, AllowanceState, ChargeOutcome, RateLimits } from '../rate-limits.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { translateStoreError } from './store-error.ts';

const DAY_S = 86_400;

/**
 * Takes rows from a key's bucket and a job from its tenant's day, all or nothing.
 *
 * KEYS 1 bucket, 2 day: without its number, since days are Redis' own. ARGV 1 rows, 2 rows a second or '', 3 burst, 4 jobs a day or '', 5 rows a day or '',
 *      6 '1' to give back.
 * Returns {place of what refuses or 0, ms until it would pass, tokens left, jobs left, rows left, ms to the next day}; '' where there is no limit.
 *
 * The bucket is what is in it and when that was so; it is forgotten when it would be full. A day's counts are forgotten a day after it.
 */
const CHARGE_LUA = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local rows, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local jobsADay, rowsADay, isRefund = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local toMidnight = (${DAY_S} - time[1] % ${DAY_S}) * 1000
local day = KEYS[2] .. ':' .. math.floor(time[1] / ${DAY_S})
local refusedBy, waitMs = 0, 0

local tokens
if rate then
  local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
  tokens = math.min(burst, (tonumber(bucket[1]) or burst) + (now - (tonumber(bucket[2]) or now)) / 1000 * rate)
  local needed = math.min(rows, burst)
  if not isRefund and tokens < needed then refusedBy, waitMs = 1, (needed - tokens) / rate * 1000 end
end
local used = {0, 0}
if jobsADay or rowsADay then
  local counts = redis.call('HMGET', day, 'jobs', 'rows')
  used = {tonumber(counts[1]) or 0, tonumber(counts[2]) or 0}
  if not isRefund and jobsADay and used[1] + 1 > jobsADay then refusedBy, waitMs = 2, toMidnight end
  if not isRefund and rowsADay and used[2] + rows > rowsADay then refusedBy, waitMs = 3, toMidnight end
end
if refusedBy == 0 then
  local sign = isRefund and -1 or 1
  if rate then
    tokens = math.min(burst, tokens - sign * rows)
    redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.3f', now))
    redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) / rate * 1000) + 1000)
  end
  if jobsADay or rowsADay then
    used = {math.max(0, used[1] + sign), math.max(0, used[2] + sign * rows)}
    redis.call('HSET', day, 'jobs', used[1], 'rows', string.format('%.0f', used[2]))
    redis.call('EXPIRE', day, ${2 * DAY_S})
  end
end
return {refusedBy, math.ceil(waitMs), tokens and tostring(math.floor(tokens)) or '',
  jobsADay and jobsADay - used[1] or '', rowsADay and rowsADay - used[2] or '', toMidnight}
`;

type Reply = [refusedBy: number, waitMs: number, tokens: string, jobs: number | '', rows: number | '', dayMs: number];
type ChargeCommand = (...args: (string | number)[]) => Promise<Reply>;

/** Buckets and days in the slot of their tenant, by Redis' clock. */
export class RedisRateLimits implements RateLimits {
  readonly #redis: RedisConnection & Record<'onqueueCharge', ChargeCommand>;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { redis: RedisConnection; keys: RedisKeys }) {
    redis.defineCommand('onqueueCharge', { lua: CHARGE_LUA, numberOfKeys: 2 });
    this.#redis = redis as RedisConnection & Record<'onqueueCharge', ChargeCommand>;
    this.#keys = keys;
  }

  async charge(allowance: Allowance, rows: number): Promise<ChargeOutcome> {
    const [place, waitMs, ...left] = await this.#run(allowance, rows, false);
    const states = statesOf(allowance, left);
    const refusedBy = states.find(({ name }) => name === NAMES[place - 1]);
    if (!refusedBy) return { status: 'charged', states };
    return { status: 'refused', refusedBy, retryAfterS: Math.max(1, Math.ceil(waitMs / 1000)), states };
  }

  async refund(allowance: Allowance, rows: number): Promise<void> {
    await this.#run(allowance, rows, true);
  }

  async #run(allowance: Allowance, rows: number, isRefund: boolean): Promise<Reply> {
    const { tenant, keyId, rowsPerS, jobsPerDay = '', rowsPerDay = '' } = allowance;
    const rate = keyId === undefined ? undefined : rowsPerS;
    try {
      return await this.#redis.onqueueCharge(
        this.#keys.rateBucket(tenant, keyId ?? ''),
        this.#keys.quotaDay(tenant),
        rows,
        rate ?? '',
        burstOf(allowance),
        jobsPerDay,
        rowsPerDay,
        isRefund ? '1' : '',
      );
    } catch (error) {
      throw translateStoreError(error);
    }
  }
}

const NAMES = ['rows', 'jobs_per_day', 'rows_per_day'] as const;

function burstOf({ burstRows, rowsPerS = 1 }: Allowance): number {
  return burstRows ?? Math.max(1, Math.ceil(rowsPerS));
}

function statesOf(
  allowance: Allowance,
  [tokens, jobs, rows, dayMs]: [tokens: string, jobs: number | '', rows: number | '', dayMs: number],
): AllowanceState[] {
  const { rowsPerS = 1, jobsPerDay = 0, rowsPerDay = 0 } = allowance;
  const resetS = Math.ceil(dayMs / 1000);
  const states: AllowanceState[] = [];
  if (tokens !== '') {
    const quota = burstOf(allowance);
    const missing = quota - Number(tokens);
    const windowS = Math.max(1, Math.ceil(quota / rowsPerS));
    const remaining = Math.max(0, Number(tokens));
    states.push({ name: 'rows', quota, windowS, remaining, resetS: Math.ceil(missing / rowsPerS) });
  }
  const day = { windowS: DAY_S, resetS };
  if (jobs !== '') states.push({ name: 'jobs_per_day', quota: jobsPerDay, remaining: Math.max(0, jobs), ...day });
  if (rows !== '') states.push({ name: 'rows_per_day', quota: rowsPerDay, remaining: Math.max(0, rows), ...day });
  return states;
}
