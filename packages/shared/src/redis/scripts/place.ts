/** Ids at the end of a wait list that are looked through; it is kept shorter than this, unless its queue is not fed. */
const MAX_LOOKS = 1000;
/** Tenants whose turns are counted. */
const MAX_TENANTS = 100;

/**
 * Where a job stands. In order of cost: its rank among its tenant's parked jobs, which is logarithmic; else its place in
 * BullMQ's wait list, from whose end workers take.
 *
 * KEYS 1 wait list, 2 turns, 3 the tenant's parked jobs, 4 weights, 5 BullMQ's meta. ARGV 1 queue job, 2 rows, 3 tenant.
 * Returns {} when it is in neither, or {position, jobs that start before it or -1, 1 when the queue is paused}.
 *
 * Of another tenant's parked jobs so many come first as its weight lets through until this one's turn. Shares count rows, and this
 * counts jobs: an estimate.
 */
export const PLACE_LUA = `
local jobId, tenant = ARGV[1], ARGV[3]
local isPaused = redis.call('HEXISTS', KEYS[5], 'paused')
local waiting = redis.call('LLEN', KEYS[1])
local rank = redis.call('ZRANK', KEYS[3], jobId .. ' ' .. ARGV[2])
if not rank then
  local at = redis.call('LPOS', KEYS[1], jobId, 'RANK', -1, 'MAXLEN', ${MAX_LOOKS})
  if not at then return {} end
  return {waiting - 1 - at, waiting - 1 - at, isPaused}
end
local position = waiting + rank
local tenants = redis.call('ZRANGE', KEYS[2], 0, ${MAX_TENANTS})
if #tenants > ${MAX_TENANTS} then return {position, -1, isPaused} end
local weights = redis.call('HMGET', KEYS[4], tenant, unpack(tenants))
local before = position
for i, other in ipairs(tenants) do
  if other ~= tenant then
    local parked = redis.call('ZCARD', string.sub(KEYS[3], 1, -#tenant - 1) .. other)
    local turns = math.ceil((rank + 1) * (tonumber(weights[i + 1]) or 1) / (tonumber(weights[1]) or 1))
    before = before + math.min(parked, turns)
  end
end
return {position, before, isPaused}
`;
