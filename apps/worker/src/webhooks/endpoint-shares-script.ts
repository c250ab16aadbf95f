/** Deliveries of one endpoint that one look of the feeder takes at most; the endpoint goes to the end of the line then. */
const MAX_PER_TURN = 8;
/** Endpoints that one reconciliation looks at. */
const MAX_RECONCILED = 256;

/**
 * Shares the dispatchers among endpoints, in Lua. KEYS[1]: a key of the queue, for the slot. ARGV: how BullMQ's keys of the
 * queue begin; how ours do; the limits, as JSON; then what the script is about.
 *
 * A delivery that may not go yet is *parked*: a BullMQ job that has its hash and stands in none of BullMQ's lists. A feed
 * moves parked deliveries into BullMQ's wait list, which is kept short. From then until the attempt is settled, the
 * delivery holds one of its endpoint's *slots*. Retries are parked too, until they are due: by Redis' clock, while
 * BullMQ's delays go by the clocks of whoever runs it.
 *
 * Keys: 'parked:<endpoint>', sorted set: delivery, by when it is due (ms). 'slots:<endpoint>', set: deliveries in flight.
 * 'due', sorted set: endpoint, by when it may be served next; who has nothing parked, or no slot free, isn't in it.
 * Served endpoints get the present time and so go behind all others that are due: a round robin. 'busy', set:
 * endpoints that hold slots. 'suspects', set: deliveries in flight to endpoints that have not answered well last.
 * 'order:<endpoint>:<job>', list: deliveries that go one after the other; only the first is parked.
 * 'endpoint:<endpoint>', hash: 'window', how many slots it may hold now; 'failures', in a row; 'opens', how often its
 * circuit opened in a row; 'open_until' and 'pause_until', ms; 'tat', when its rate lets the next one through, ms.
 */
const SHARE_FUNCTIONS = `
local Q, S, O = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + clock[2] / 1000
local function at(ms) return string.format('%.3f', ms) end

local FIELDS = {'window', 'failures', 'opens', 'open_until', 'pause_until', 'tat', 'concurrency', 'rate'}

local function endpointOf(endpoint)
  local values = redis.call('HMGET', S .. 'endpoint:' .. endpoint, unpack(FIELDS))
  local state = {isProven = values[1] and (tonumber(values[2]) or 0) == 0}
  for i, name in ipairs(FIELDS) do state[name] = tonumber(values[i] or 0) end
  -- Who is new has one slot, and one more with each good answer: what is dead from the start never holds more.
  if not values[1] then state.window = 1 end
  -- Its own limits, where it has any.
  if not values[7] then state.concurrency = O.concurrency end
  if not values[8] then state.rate = O.rate_per_s end
  return state
end

-- Writes when an endpoint may be served next.
local function reschedule(endpoint, state, used, limit, notBefore)
  local head = redis.call('ZRANGE', S .. 'parked:' .. endpoint, 0, 0, 'WITHSCORES')[2]
  if not head or used >= limit then return redis.call('ZREM', S .. 'due', endpoint) end
  redis.call('ZADD', S .. 'due', at(math.max(tonumber(head), state.open_until, state.pause_until, notBefore)), endpoint)
end

-- Moves up to 'count' deliveries of an endpoint on. How many it moved.
local function serve(endpoint, count)
  local state = endpointOf(endpoint)
  local concurrency, rate = state.concurrency, state.rate
  local slots, used = S .. 'slots:' .. endpoint, redis.call('SCARD', S .. 'slots:' .. endpoint)
  -- A circuit that was open lets one probe through.
  local limit = state.opens > 0 and 1 or math.max(1, math.min(math.floor(state.window), concurrency))
  count = math.min(count, limit - used)
  local notBefore = NOW
  if math.max(state.open_until, state.pause_until) > NOW then count = 0 end
  if not state.isProven and count > 0 then
    count = math.min(count, O.suspects - redis.call('SCARD', S .. 'suspects'))
    if count <= 0 then notBefore = NOW + 100 end
  end
  if rate > 0 then
    -- Generic cell rate: a burst of as many as it has slots.
    local interval = 1000 / rate
    state.tat = math.max(state.tat, NOW - interval * (concurrency - 1))
    count = math.min(count, math.max(0, math.floor((NOW - state.tat) / interval) + 1))
    if count > 0 then redis.call('HSET', S .. 'endpoint:' .. endpoint, 'tat', at(state.tat + count * interval)) end
    notBefore = math.max(notBefore, state.tat + count * interval)
  end
  local moved = 0
  if count > 0 then
    local ids = redis.call('ZRANGEBYSCORE', S .. 'parked:' .. endpoint, '-inf', at(NOW), 'LIMIT', 0, count)
    local going = {}
    for _, id in ipairs(ids) do
      -- Whoever removed the job from BullMQ wants it no more.
      if redis.call('EXISTS', Q .. id) == 1 then going[#going + 1] = id end
    end
    moved = #going
    if #ids > 0 then redis.call('ZREM', S .. 'parked:' .. endpoint, unpack(ids)) end
    if moved > 0 then
      redis.call('LPUSH', Q .. 'wait', unpack(going))
      redis.call('SADD', slots, unpack(going))
      if not state.isProven then redis.call('SADD', S .. 'suspects', unpack(going)) end
      if used == 0 then redis.call('SADD', S .. 'busy', endpoint) end
    end
  end
  reschedule(endpoint, state, used + moved, limit, notBefore)
  return moved
end

-- Fills the wait list, endpoint by endpoint. The answer of every script: Redis' clock, ms, and in how many ms there is
-- something to feed again; -1 when nothing is parked for a time.
local function feed(result)
  redis.call('DEL', S .. 'scratch') -- Not deny-oom: what follows is let through though Redis be full.
  local room, fed = O.feed_limit - redis.call('LLEN', Q .. 'wait'), 0
  for _ = 1, 16 do
    if room <= 0 then break end
    local ready = redis.call('ZRANGEBYSCORE', S .. 'due', '-inf', at(NOW), 'LIMIT', 0, room)
    if #ready == 0 then break end
    local share = math.max(1, math.min(${MAX_PER_TURN}, math.floor(room / #ready)))
    for _, endpoint in ipairs(ready) do
      local moved = serve(endpoint, math.min(share, room))
      room, fed = room - moved, fed + moved
    end
  end
  if fed > 0 then redis.call('ZADD', Q .. 'marker', 0, '0') end
  local head = redis.call('ZRANGE', S .. 'due', 0, 0, 'WITHSCORES')[2]
  return {at(NOW), head and at(math.max(0, tonumber(head) - NOW)) or '-1', cjson.encode(result or {})}
end

local function park(endpoint, id, dueMs)
  redis.call('ZADD', S .. 'parked:' .. endpoint, at(dueMs), id)
  local due = redis.call('ZSCORE', S .. 'due', endpoint)
  if due and tonumber(due) <= dueMs then return end
  -- Behind those that are due already. Whether it has a slot free, and is let through, is for the feed to see.
  redis.call('ZADD', S .. 'due', at(math.max(dueMs, NOW)), endpoint)
end

local function isOver(id)
  local job = redis.call('HMGET', Q .. id, 'finishedOn', 'opts')
  return job[1] or not job[2]
end

-- Lets the next of an ordered line go, when 'id' was the first of it and is over; or whoever is first, when 'id' is nil.
local function advance(endpoint, job, id)
  local line = S .. 'order:' .. endpoint .. ':' .. job
  if id then redis.call('LREM', line, 1, id) end
  for _ = 1, 64 do
    local head = redis.call('LINDEX', line, 0)
    if not head then return end
    if not isOver(head) then
      local isOnItsWay = redis.call('SISMEMBER', S .. 'slots:' .. endpoint, head) == 1
      if not isOnItsWay and not redis.call('ZSCORE', S .. 'parked:' .. endpoint, head) then park(endpoint, head, NOW) end
      return
    end
    redis.call('LPOP', line)
  end
end
`;

/** ARGV[4]: JSON of `[{id, endpoint, name, data, opts, delay_ms, job?}]`. A delivery that is known already is dropped. */
export const ADD_DELIVERIES = `
${SHARE_FUNCTIONS}
redis.call('HSETNX', Q .. 'meta', 'opts.maxLenEvents', 100)
for _, it in ipairs(cjson.decode(ARGV[4])) do
  if redis.call('EXISTS', Q .. it.id) == 0 then
    redis.call('HSET', Q .. it.id, 'name', it.name, 'data', it.data, 'opts', it.opts, 'timestamp', string.format('%.0f', NOW), 'delay', 0, 'priority', 0)
    if it.concurrency then redis.call('HSET', S .. 'endpoint:' .. it.endpoint, 'concurrency', it.concurrency) end
    if it.rate then redis.call('HSET', S .. 'endpoint:' .. it.endpoint, 'rate', it.rate) end
    if it.job then
      redis.call('RPUSH', S .. 'order:' .. it.endpoint .. ':' .. it.job, it.id)
      advance(it.endpoint, it.job)
    else
      park(it.endpoint, it.id, NOW + it.delay_ms)
    end
  end
end
return feed()
`;

/**
 * ARGV[4]: JSON of `[{id, endpoint, token, signal, retry_ms?, pause_ms?, job?}]`: attempts that have ended. One whose lock
 * is not held by `token` any more changes nothing: the delivery is with another dispatcher, or on its way there. With
 * `retry_ms` it is parked again; without, the caller finishes the BullMQ job. Answers a flag each: whether it counted.
 */
export const SETTLE_ATTEMPTS = `
${SHARE_FUNCTIONS}
redis.call('DEL', S .. 'scratch')
local states = {}
local function judge(state, it)
  if it.signal == 'good' or it.signal == 'slow' then
    state.failures, state.opens, state.open_until = 0, 0, 0
    -- One more with each good answer doubles the window every round trip; a slow one widens it by one every round trip.
    state.window = math.min(state.concurrency, state.window + (it.signal == 'good' and 1 or 1 / state.window))
  elseif it.signal == 'failed' or it.signal == 'busy' then
    state.failures = state.failures + 1
    state.window = math.max(1, math.floor(state.window / 2))
    if state.failures >= O.circuit_failures and state.open_until <= NOW then
      state.open_until = NOW + math.min(O.circuit_open_ms * 2 ^ math.min(state.opens, 20), O.circuit_open_max_ms)
      state.opens = state.opens + 1
    end
    if it.signal == 'busy' then
      local pause = it.pause_ms or math.min(O.pause_ms * 2 ^ math.min(state.failures - 1, 20), O.pause_max_ms)
      state.pause_until = math.max(state.pause_until, NOW + math.min(pause, O.retry_after_max_ms))
    end
  else
    return
  end
  state.isChanged = true
end
local counted = {}
for i, it in ipairs(cjson.decode(ARGV[4])) do
  local lock, endpoint = Q .. it.id .. ':lock', it.endpoint
  counted[i] = redis.call('GET', lock) == it.token
  if counted[i] then
    local state = states[endpoint] or endpointOf(endpoint)
    states[endpoint] = state
    redis.call('SREM', S .. 'slots:' .. endpoint, it.id)
    if not state.isProven then redis.call('SREM', S .. 'suspects', it.id) end
    judge(state, it)
    if it.retry_ms then
      redis.call('LREM', Q .. 'active', 1, it.id)
      redis.call('SREM', Q .. 'stalled', it.id)
      redis.call('DEL', lock)
      redis.call('HINCRBY', Q .. it.id, 'atm', 1)
      redis.call('ZADD', S .. 'parked:' .. endpoint, at(NOW + it.retry_ms), it.id)
    elseif it.job then
      advance(endpoint, it.job, it.id)
    end
  end
end
for endpoint, state in pairs(states) do
  if redis.call('EXISTS', S .. 'slots:' .. endpoint) == 0 then redis.call('SREM', S .. 'busy', endpoint) end
  if state.isChanged then
    local key = S .. 'endpoint:' .. endpoint
    redis.call('HSET', key, 'window', state.window, 'failures', state.failures, 'opens', state.opens,
      'open_until', at(state.open_until), 'pause_until', at(state.pause_until))
    redis.call('PEXPIRE', key, O.state_ttl_ms)
  end
  -- Who is due already keeps its place in the line.
  local due = tonumber(redis.call('ZSCORE', S .. 'due', endpoint) or 'inf')
  if due > NOW or math.max(state.open_until, state.pause_until) > NOW then reschedule(endpoint, state, 0, 1, NOW) end
end
return feed(counted)
`;

export const FEED = `
${SHARE_FUNCTIONS}
return feed()
`;

/**
 * Gives slots back that nobody will: of jobs that were finished after their dispatcher died, that stalled out, or
 * that somebody removed.
 */
export const RECONCILE = `
${SHARE_FUNCTIONS}
redis.call('DEL', S .. 'scratch')
local freed = 0
for _, endpoint in ipairs(redis.call('SRANDMEMBER', S .. 'busy', ${MAX_RECONCILED})) do
  local slots = S .. 'slots:' .. endpoint
  for _, id in ipairs(redis.call('SMEMBERS', slots)) do
    -- A worker of an older version delays its retries in BullMQ.
    if isOver(id) or redis.call('ZSCORE', Q .. 'delayed', id) then
      redis.call('SREM', slots, id)
      redis.call('SREM', S .. 'suspects', id)
      local data = redis.call('HGET', Q .. id, 'data')
      local isJson, delivery = pcall(cjson.decode, data or '')
      if isJson and type(delivery) == 'table' and delivery.ordered == true then advance(endpoint, delivery.job_id, id) end
      freed = freed + 1
    end
  end
  if redis.call('SCARD', slots) == 0 then redis.call('SREM', S .. 'busy', endpoint) end
  if not redis.call('ZSCORE', S .. 'due', endpoint) then reschedule(endpoint, endpointOf(endpoint), 0, 1, NOW) end
end
return feed({freed})
`;
