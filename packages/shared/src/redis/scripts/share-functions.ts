import { ADD_QUEUE_JOBS } from './add-queue-jobs.ts';
import { PARKED_ORDER } from './parked-order.ts';

/** Tenants that one feed looks at; those behind them come with the next one. */
const MAX_TENANTS_PER_FEED = 1024;
/** Jobs in the wait list that count towards their tenants' shares when turns begin. */
const MAX_COUNTED = 256;
/** How many of a tenant's jobs are read at a time. */
const JOBS_PER_LOOK = 16;

/**
 * Shares a queue fairly among tenants, as Lua functions. Needs RECORD_FUNCTIONS.
 *
 * BullMQ's wait list is first come, first served: a hundred thousand jobs of one tenant stand before the ten of another.
 * So it is kept short, and what it has no room for is *parked*: in a sorted set per tenant, in order of priority and arrival, without
 * any of BullMQ's keys. A feed moves parked jobs on, by start-time fair queueing: each tenant has a virtual time, to which
 * each of its jobs adds its rows by the tenant's weight; the one with the least goes next. While nobody is parked, jobs
 * go straight to BullMQ.
 *
 * Under <prefix>shares:<queue>: 'turns', sorted set: tenant, by virtual time; 'parked:<tenant>', sorted set: '<queue job>
 * <rows>', by priority and the time at which it was parked (parked-order.ts). <prefix>weights, hash: tenant to weight, 1 when it is missing.
 * A tenant whose last job was fed keeps its turn until the others have come up to it: who sends job by job has no more than
 * who sends all at once.
 *
 * In the backlog's hash: 'feed_limit:<lane>', which workers write, 'virtual_time:<lane>', where the last feed came to, and 'queue_options', those of BullMQ's jobs that are
 * fed: as configured when the last one was parked.
 */
export const SHARE_FUNCTIONS = `
${PARKED_ORDER}
${ADD_QUEUE_JOBS}
-- Hash and field: when the job that was fed last began, in virtual time.
local function virtualTimeOf(queue)
  local model, lane = string.match(queue, '^(.*)%.([^.]*)$')
  return P .. 'backlog:' .. model, 'virtual_time:' .. lane
end
local function turnsKey(queue) return P .. 'shares:' .. queue .. ':turns' end

-- Up to 'room' parked jobs whose turn it is: {id, tenant, parked us} each. By tenant, how many of them are its, and its
-- virtual time after them; the tenants without jobs whose turn is over; the virtual time of the last job, if any; whether it
-- ran out of looks. Writes nothing.
local function nextParked(queue, room)
  local jobs, served, idle, now, looks, edge = {}, {}, {}, nil, 0, -math.huge
  local function answer(isCut)
    local spent = {}
    for _, entry in ipairs(idle) do
      -- Without others, there is nobody to be owed anything.
      if not isCut and #jobs < room or now and entry.time <= now then spent[#spent + 1] = entry.tenant end
    end
    return jobs, served, spent, now, isCut
  end
  -- Those that were looked at, in the order of virtual time. All others have at least 'edge'.
  local waiting = {}
  local function insert(entry, place)
    while waiting[place + 1] and waiting[place + 1].time <= entry.time do
      waiting[place] = waiting[place + 1]
      place = place + 1
    end
    waiting[place] = entry
  end
  local function lookAtMore()
    local count = math.max(room - #jobs, ${JOBS_PER_LOOK})
    local heads = redis.call('ZRANGE', turnsKey(queue), looks, looks + count - 1, 'WITHSCORES')
    local tenants = {}
    for i = 1, #heads, 2 do tenants[#tenants + 1] = heads[i] end
    local weights = #tenants > 0 and redis.call('HMGET', P .. 'weights', unpack(tenants)) or {}
    for i, tenant in ipairs(tenants) do
      -- Everybody moves up by one, and the new one finds its place from the front.
      table.insert(waiting, 1, false)
      insert({tenant = tenant, time = tonumber(heads[i * 2]), weight = tonumber(weights[i]) or 1, taken = 0, at = 1, ids = {}}, 1)
    end
    looks = looks + #tenants
    edge = #tenants < count and math.huge or tonumber(heads[#heads])
  end
  while #jobs < room do
    local first = waiting[1]
    if not first or first.time > edge then
      if edge == math.huge then return answer(false) end
      if looks >= ${MAX_TENANTS_PER_FEED} then return answer(true) end
      lookAtMore()
    else
      if first.at > #first.ids then
        first.ids = redis.call('ZRANGE', parkedKey(queue, first.tenant), first.taken, first.taken + ${JOBS_PER_LOOK} - 1, 'WITHSCORES')
        first.at = 1
      end
      if #first.ids == 0 then
        idle[#idle + 1] = table.remove(waiting, 1)
      else
        local id, rows = string.match(first.ids[first.at], '^(%S+) (%d+)$')
        jobs[#jobs + 1] = {id, first.tenant, first.ids[first.at + 1]}
        first.at = first.at + 2
        first.taken = first.taken + 1
        now = first.time
        first.time = now + rows / first.weight
        served[first.tenant] = first
        insert(first, 1)
      end
    end
  end
  return answer(false)
end

-- Fills a queue's wait list from those who are parked, up to 'limit' jobs, and so many more as are about to be claimed. True
-- when tenants may be parked whom it had no time for.
local function feedQueue(queue, limit, claims)
  local Q = P .. 'bull:' .. queue .. ':'
  local turns = turnsKey(queue)
  if redis.call('EXISTS', turns) == 0 then return false end
  local meta = redis.call('HMGET', Q .. 'meta', 'paused', 'concurrency', 'max')
  if meta[1] then return false end
  -- Where BullMQ lets only so many through, nobody knows how many are about to be claimed.
  if not meta[2] and not meta[3] then limit = limit + claims end
  local room = limit - redis.call('LLEN', Q .. 'wait')
  if room <= 0 then return false end
  local jobs, served, spent, now, isCut = nextParked(queue, room)
  if #jobs > 0 then
    local backlog, virtualTime = virtualTimeOf(queue)
    local options = redis.call('HGET', backlog, 'queue_options') or '{}'
    local added, data = {}, {}
    for i, job in ipairs(jobs) do
      local id, tenant, parkedUs = job[1], job[2], arrivalOf(tonumber(job[3]))
      data[tenant] = data[tenant] or cjson.encode({tenant = tenant})
      added[i] = {id, data[tenant], string.format('%.0f', math.floor(parkedUs / 1000))}
    end
    addQueueJobs(Q, added, options)
    for tenant, its in pairs(served) do
      redis.call('ZREMRANGEBYRANK', parkedKey(queue, tenant), 0, its.taken - 1)
      redis.call('ZADD', turns, its.time, tenant)
    end
    redis.call('HSET', backlog, virtualTime, now)
  end
  if #spent > 0 then redis.call('ZREM', turns, unpack(spent)) end
  return isCut
end

local function feedLimitOf(model, lane)
  return tonumber(redis.call('HGET', P .. 'backlog:' .. model, 'feed_limit:' .. lane)) or DEFAULT_FEED_LIMIT
end

local function setFeedLimit(model, lane, limit)
  local key, field = P .. 'backlog:' .. model, 'feed_limit:' .. lane
  if redis.call('HGET', key, field) ~= tostring(limit) then redis.call('HSET', key, field, limit) end
end

-- What tenants have in the wait list counts as theirs when the first one is parked.
local function openTurns(queue)
  local Q, tenants, times = P .. 'bull:' .. queue .. ':', {}, {}
  for _, jobId in ipairs(redis.call('LRANGE', Q .. 'wait', -${MAX_COUNTED}, -1)) do
    local data = redis.call('HGET', Q .. jobId, 'data') or ''
    if tenants[data] == nil then
      local isJson, value = pcall(cjson.decode, data)
      tenants[data] = isJson and type(value) == 'table' and type(value.tenant) == 'string' and value.tenant
    end
    local tenant, id = tenants[data], string.match(jobId, '^(.*)%-%d+$')
    local rows = tenant and id and redis.call('HGET', recordKey(tenant, id), 'rows')
    if rows then times[tenant] = (times[tenant] or 0) + rows end
  end
  for tenant, time in pairs(times) do
    redis.call('ZADD', turnsKey(queue), time / (tonumber(redis.call('HGET', P .. 'weights', tenant)) or 1), tenant)
  end
  local backlog, virtualTime = virtualTimeOf(queue)
  redis.call('HSET', backlog, virtualTime, 0)
end

-- Whoever has no turn begins where the others are: neither with what it did not use, nor behind them.
local function parkQueueJob(queue, tenant, jobId, rows, priority)
  local turns, parked = turnsKey(queue), parkedKey(queue, tenant)
  if redis.call('EXISTS', turns) == 0 then openTurns(queue) end
  if not redis.call('ZSCORE', turns, tenant) then
    redis.call('ZADD', turns, redis.call('HGET', virtualTimeOf(queue)) or 0, tenant)
  end
  -- In order, though Redis' clock be set back.
  priority = tonumber(priority) or 0
  local from, to = scoresOf(priority)
  local last = redis.call('ZREVRANGEBYSCORE', parked, to, from, 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local score = math.max(parkedScore(tonumber(NOW_US), priority), last and last + 1 or -math.huge)
  redis.call('ZADD', parked, string.format('%.0f', score), jobId .. ' ' .. rows)
end
`;
