/**
 * What happened with deliveries. All keys are those of the first partition, and begin with P. Times are Redis'.
 *
 * A delivery is a hash: `content`, `status`, `created_ms`, `attempts`, `round`, and the newest attempts under `a<number % 20>` as
 * `<ms> <JSON>`.
 */
const FUNCTIONS = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
local P = ARGV[1]
local function allOf(tenant) return P .. 'deliveries:' .. tenant end
local function failedOf(tenant) return P .. 'deliveries-failed:' .. tenant end
local function keyOf(tenant, id) return P .. 'delivery:' .. tenant .. ':' .. id end
-- Of many, each for itself: one that cannot be written keeps none of the others.
local function each(first, stride, write)
  local failure
  for at = first, #ARGV, stride do
    local isDone, why = pcall(write, at)
    if not isDone then failure = why end
  end
  if failure then return redis.error_reply(type(failure) == 'table' and failure.err or failure) end
  return 1
end
`;

/**
 * KEYS 1 scratch. ARGV 1 prefix, 2 for how long they are kept, ms, 3 how many of a tenant are; then per delivery: tenant, id, content,
 * job or ''. Of those that are too many the oldest leave the list; what has not been delivered is kept all the same until its
 * time is up.
 */
export const OPEN_DELIVERIES_LUA = `${FUNCTIONS}
return each(4, 4, function(at)
  local tenant, id, job = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  local key, ALL = keyOf(tenant, id), allOf(tenant)
  if redis.call('HSETNX', key, 'content', ARGV[at + 2]) == 0 then return end
  redis.call('HSET', key, 'status', 'pending', 'created_ms', now, 'attempts', 0, 'round', 0)
  redis.call('PEXPIRE', key, ARGV[2])
  redis.call('ZADD', ALL, now, id)
  redis.call('PEXPIRE', ALL, ARGV[2])
  if job ~= '' then
    local ofJob = P .. 'deliveries-of:' .. tenant .. ':' .. job
    redis.call('ZADD', ofJob, now, id)
    redis.call('PEXPIRE', ofJob, ARGV[2])
  end
  redis.call('ZREMRANGEBYSCORE', ALL, '-inf', now - ARGV[2])
  local tooMany = redis.call('ZCARD', ALL) - ARGV[3]
  if tooMany > 0 then
    for _, old in ipairs(redis.call('ZRANGE', ALL, 0, math.min(tooMany, 10) - 1)) do
      if redis.call('HGET', keyOf(tenant, old), 'status') == 'delivered' then redis.call('DEL', keyOf(tenant, old)) end
      redis.call('ZREM', ALL, old)
    end
  end
end)
`;

/**
 * KEYS 1 scratch. ARGV 1 prefix, 2 for how long they are kept, ms, 3 how many of a tenant that failed are; then per attempt: tenant, id,
 * the attempt, status. Begins with a DEL: how a delivery ended is noted in a full Redis too.
 */
export const NOTE_ATTEMPTS_LUA = `${FUNCTIONS}
redis.call('DEL', KEYS[1])
return each(4, 4, function(at)
  local tenant, id, status = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  local key, FAILED = keyOf(tenant, id), failedOf(tenant)
  if redis.call('EXISTS', key) == 0 then return end
  local number = redis.call('HINCRBY', key, 'attempts', 1)
  redis.call('HSET', key, 'status', status, 'a' .. number % 20, string.format('%.0f', now) .. ' ' .. ARGV[at + 2])
  redis.call('PEXPIRE', key, ARGV[2])
  if status ~= 'failed' then
    redis.call('ZREM', FAILED, id)
    return
  end
  redis.call('ZADD', FAILED, now, id)
  redis.call('PEXPIRE', FAILED, ARGV[2])
  redis.call('ZREMRANGEBYSCORE', FAILED, '-inf', now - ARGV[2])
  local tooMany = redis.call('ZCARD', FAILED) - ARGV[3]
  if tooMany > 0 then
    for _, old in ipairs(redis.call('ZRANGE', FAILED, 0, math.min(tooMany, 10) - 1)) do
      redis.call('DEL', keyOf(tenant, old))
      redis.call('ZREM', FAILED, old)
      redis.call('ZREM', allOf(tenant), old)
    end
  end
end)
`;

/**
 * Orders deliveries anew, those that are not on their way.
 * KEYS 1 scratch. ARGV 1 prefix, 2 tenant, 3 for how long they are kept, ms; then ids. Returns how many.
 */
export const REDELIVER_LUA = `${FUNCTIONS}
local tenant = ARGV[2]
local ordered = 0
for i = 4, #ARGV do
  local key = keyOf(tenant, ARGV[i])
  local found = redis.call('HMGET', key, 'status', 'content')
  if found[2] and found[1] ~= 'pending' then
    local round = redis.call('HINCRBY', key, 'round', 1)
    redis.call('HSET', key, 'status', 'pending')
    redis.call('PEXPIRE', key, ARGV[3])
    redis.call('ZREM', failedOf(tenant), ARGV[i])
    redis.call('XADD', P .. 'outbox', '*', 'event', cjson.encode({
      schema_version = 4, id = cjson.decode(found[2]).event_id, tenant = tenant, occurred_at_ms = now,
      delivery_id = ARGV[i], round = round}))
    ordered = ordered + 1
  end
end
return ordered
`;
