import { jobState } from '../../job-state.ts';

/** Of a list by metadata: jobs that wait longer than this drop out of it. */
const TAG_TTL_MS = 7 * 86_400_000;
/** Of such a list, how many of its oldest entries are looked at with each new one: more than are added, so that it stays short. */
const TAG_LOOKS = 4;

/** States in which few jobs end: each has a list of its own, so that failed jobs are found among millions. */
export const LISTED_STATES = jobState.exclude(['queued', 'running', 'succeeded']).options;

/**
 * The lists of jobs, as Lua functions. Needs RECORD_FUNCTIONS.
 *
 * Per tenant and model one sorted set without scores, whose members, the ids, sort by creation time. Entries of records that
 * have expired are taken off by who reads them and by a walk now and then (prune.ts).
 *
 * By metadata there is a set per value, whose oldest entries are looked at when one is added; it expires a week after the last one.
 */
export const INDEX_FUNCTIONS = `
local function jobsKey(tenant, model) return P .. 'jobs:' .. tenant .. ':' .. model end

-- 'tags': names of values, separated by blanks.
local function listJob(tenant, id, model, tags)
  local key = jobsKey(tenant, model)
  if redis.call('EXISTS', key) == 0 then
    redis.call('SADD', P .. 'job-models:' .. tenant, model)
    redis.call('SADD', P .. 'job-tenants', tenant)
  end
  redis.call('ZADD', key, 0, id)
  for tag in string.gmatch(tags, '%S+') do
    local tagged = P .. 'tagged:' .. tenant .. ':' .. tag
    for _, old in ipairs(redis.call('ZRANGE', tagged, 0, ${TAG_LOOKS - 1})) do
      if redis.call('EXISTS', recordKey(tenant, old)) == 0 then redis.call('ZREM', tagged, old) end
    end
    redis.call('ZADD', tagged, 0, id)
    redis.call('PEXPIRE', tagged, math.max(${TAG_TTL_MS}, RETENTION_MS * 2))
  end
end

local function unlistEnd(tenant, id, model, state) redis.call('ZREM', jobsKey(tenant, model) .. ':' .. state, id) end
`;
