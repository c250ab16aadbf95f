/**
 * What happened with deliveries. All keys are those of the first partition, and begin with P. Times are Redis'.
 *
 * A delivery is a hash: `content`, `status`, `created_ms`, `attempts`, `round`, and the newest attempts under `a<number % 20>` as
 * `<ms> <JSON>`.
 */
const FUNCTIONS = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
local P, tenant = ARGV[1], ARGV[2]
local ALL, FAILED = P .. 'deliveries:' .. tenant, P .. 'deliveries-failed:' .. tenant
local function keyOf(id) return P .. 'delivery:' .. tenant .. ':' .. id end
`;

/**
 * KEYS 1 scratch. ARGV 1 prefix, 2 tenant, 3 id, 4 content, 5 job or '', 6 for how long it is kept, ms, 7 how many are.
 * Of those that are too many the oldest leave the list; what has not been delivered is kept all the same until its time is up.
 */
export const OPEN_DELIVERY_LUA = `${FUNCTIONS}
local id, key = ARGV[3], keyOf(ARGV[3])
if redis.call('HSETNX', key, 'content', ARGV[4]) == 0 then return 0 end
redis.call('HSET', key, 'status', 'pending', 'created_ms', now, 'attempts', 0, 'round', 0)
redis.call('PEXPIRE', key, ARGV[6])
redis.call('ZADD', ALL, now, id)
redis.call('PEXPIRE', ALL, ARGV[6])
if ARGV[5] ~= '' then
  local ofJob = P .. 'deliveries-of:' .. tenant .. ':' .. ARGV[5]
  redis.call('ZADD', ofJob, now, id)
  redis.call('PEXPIRE', ofJob, ARGV[6])
end
redis.call('ZREMRANGEBYSCORE', ALL, '-inf', now - ARGV[6])
local tooMany = redis.call('ZCARD', ALL) - ARGV[7]
if tooMany > 0 then
  for _, old in ipairs(redis.call('ZRANGE', ALL, 0, math.min(tooMany, 10) - 1)) do
    if redis.call('HGET', keyOf(old), 'status') == 'delivered' then redis.call('DEL', keyOf(old)) end
    redis.call('ZREM', ALL, old)
  end
end
return 1
`;

/**
 * KEYS 1 scratch. ARGV 1 prefix, 2 tenant, 3 id, 4 the attempt, 5 status, 6 for how long it is kept, ms, 7 how many that failed are.
 * Begins with a DEL: how a delivery ended is noted in a full Redis too.
 */
export const NOTE_ATTEMPT_LUA = `${FUNCTIONS}
local id, key = ARGV[3], keyOf(ARGV[3])
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('DEL', KEYS[1])
local number = redis.call('HINCRBY', key, 'attempts', 1)
redis.call('HSET', key, 'status', ARGV[5], 'a' .. number % 20, string.format('%.0f', now) .. ' ' .. ARGV[4])
redis.call('PEXPIRE', key, ARGV[6])
if ARGV[5] ~= 'failed' then
  redis.call('ZREM', FAILED, id)
  return 1
end
redis.call('ZADD', FAILED, now, id)
redis.call('PEXPIRE', FAILED, ARGV[6])
redis.call('ZREMRANGEBYSCORE', FAILED, '-inf', now - ARGV[6])
local tooMany = redis.call('ZCARD', FAILED) - ARGV[7]
if tooMany > 0 then
  for _, old in ipairs(redis.call('ZRANGE', FAILED, 0, math.min(tooMany, 10) - 1)) do
    redis.call('DEL', keyOf(old))
    redis.call('ZREM', FAILED, old)
    redis.call('ZREM', ALL, old)
  end
end
return 1
`;

/**
 * Orders deliveries anew, those that are not on their way.
 * KEYS 1 scratch. ARGV 1 prefix, 2 tenant, 3 for how long they are kept, ms; then ids. Returns how many.
 */
export const REDELIVER_LUA = `${FUNCTIONS}
local ordered = 0
for i = 4, #ARGV do
  local key = keyOf(ARGV[i])
  local found = redis.call('HMGET', key, 'status', 'content')
  if found[2] and found[1] ~= 'pending' then
    local round = redis.call('HINCRBY', key, 'round', 1)
    redis.call('HSET', key, 'status', 'pending')
    redis.call('PEXPIRE', key, ARGV[3])
    redis.call('ZREM', FAILED, ARGV[i])
    redis.call('XADD', P .. 'outbox', '*', 'event', cjson.encode({
      schema_version = 4, id = cjson.decode(found[2]).event_id, tenant = tenant, occurred_at_ms = now,
      delivery_id = ARGV[i], round = round}))
    ordered = ordered + 1
  end
end
return ordered
`;
