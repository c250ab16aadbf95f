import { CACHED_ROWS } from './cached-rows.ts';

/**
 * Computes a row once though many jobs want it, as Lua functions. Needs RECORD_FUNCTIONS and PLACE_QUEUE_JOB.
 *
 * A row that a queued or running job computes is *led* by it, by the row's key in the cache: so rows of two tenants are never the same.
 * A job all of whose rows are answered or led *follows*: it is queued and in no queue, and stands in the set of the first
 * row that it waits for. Whatever ends it meanwhile (cancel, expiry) finds it like any other job. When the leader ends,
 * its followers are looked at in slices, by the sweep: who has all answers ends; after a success that left no answer all
 * go to the queue; after any other end the most urgent one leads. A final fault of the row is among the answers.
 *
 * A leader has a lease, which counts from its start: before its turn in the queue the next one would have to wait too. When it is over the next
 * one is promoted. A follower that is more urgent than a leader in the queue takes its place.
 *
 * Under <prefix>: 'flight-leaders', hash: row to '<tenant>:<id>:<run>', or to the state in which the leader ended; 'flights', sorted
 * set: row by the end of its lease, Unix ms, 0 when the leader has ended; 'followers:<row>', sorted set: '<tenant>:<id>:<run>', the
 * most urgent first. In a record: 'flight', the rows that it leads; 'following', the row that it waits for; 'reuse', the lease, the source
 * and the keys of all its rows.
 */
export const FLIGHT_FUNCTIONS = `
${CACHED_ROWS}
local function splitWords(text)
  local words = {}
  for word in string.gmatch(text, '%S+') do words[#words + 1] = word end
  return words
end

-- {leaseMs, source, keys} of a record's 'reuse'.
local function reuseOf(text)
  local words = splitWords(text or '')
  if #words < 3 then return nil end
  local leaseMs, source = tonumber(table.remove(words, 1)), table.remove(words, 1)
  return {leaseMs = leaseMs, source = source, keys = words}
end

local function runOf(member) return string.match(member or '', '^(.*):([^:]+):([^:]+)$') end

-- The lane first, then the priority, then the arrival.
local function urgency(lane, priority)
  return string.format('%.0f', ((lane == 'bulk' and 11 or 0) + 5 - priority) * 2e13 + NOW_MS)
end

local function follow(tenant, id, run, record, row, leaseMs)
  redis.call('HSET', recordKey(tenant, id), 'following', row)
  redis.call('ZADD', followersKey(row), urgency(record.lane, record.priority), dueMember(tenant, id, run))
  redis.call('ZADD', FLIGHTS, 'NX', NOW_MS + leaseMs, row)
end

-- A leader in the bulk lane that has not begun becomes a follower of an interactive job with the same rows; whether it did.
local function giveWay(member, rows, lane, leaseMs)
  local tenant, id, run = runOf(member)
  if lane ~= 'interactive' or not tenant then return false end
  local leader = readRun(tenant, id)
  if leader.run ~= run or leader.state ~= 'queued' or leader.attempt ~= '0' or leader.lane ~= 'bulk'
    or leader.flight ~= table.concat(rows, ' ') then return false end
  local Q = P .. 'bull:' .. queueOf(leader.model, 'bulk') .. ':'
  -- In somebody's hands, or too deep in a list to be taken out.
  if redis.call('EXISTS', Q .. id .. '-' .. run .. ':lock') == 1 or redis.call('LLEN', Q .. 'wait') > 1000 then return false end
  removeQueueJob(tenant, leader, id, run)
  redis.call('HDEL', recordKey(tenant, id), 'flight')
  follow(tenant, id, run, leader, rows[1], leaseMs)
  return true
end

-- Whether a run waits for others; else it leads what nobody does, and goes to the queue.
local function joinFlight(tenant, id, run, record, reuse, found)
  local rows, seen = {}, {}
  for i, key in ipairs(reuse.keys) do
    if not found.results[i] and not seen[key] then
      seen[key] = true
      rows[#rows + 1] = key
    end
  end
  local leaders, free, awaited = redis.call('HMGET', P .. 'flight-leaders', unpack(rows)), {}, nil
  for i, row in ipairs(rows) do
    if leaders[i] then awaited = awaited or i else free[#free + 1] = row end
  end
  if #free == 0 then
    if not giveWay(leaders[awaited], rows, record.lane, reuse.leaseMs) then
      follow(tenant, id, run, record, rows[awaited], reuse.leaseMs)
      return true
    end
    free = rows
  end
  for _, row in ipairs(free) do
    redis.call('HSET', P .. 'flight-leaders', row, dueMember(tenant, id, run))
    redis.call('ZADD', FLIGHTS, NOW_MS + reuse.leaseMs, row)
  end
  redis.call('HSET', recordKey(tenant, id), 'flight', table.concat(free, ' '))
  return false
end

-- What becomes of a follower whose leader is no more.
local function letGo(tenant, id, run, record, row, hasSucceeded, options)
  local key = recordKey(tenant, id)
  local fields = redis.call('HMGET', key, 'reuse', 'version', 'request')
  redis.call('HDEL', key, 'following')
  record.following = nil
  local reuse = reuseOf(fields[1])
  if reuse then
    local found = cachedRows(record.model, fields[2], reuse.source, reuse.keys, true)
    if found.count == #reuse.keys then
      assertRunKinds(record.model)
      return endAnswered(tenant, id, record, found, cjson.decode(fields[3]).on_row_error == 'fail')
    end
    -- Of what is not kept, another one would leave nothing either.
    local isInVain = false
    for i, wanted in ipairs(reuse.keys) do isInVain = isInVain or hasSucceeded and wanted == row and not found.results[i] end
    if isInVain then redis.call('HDEL', key, 'reuse')
    elseif joinFlight(tenant, id, run, record, reuse, found) then return end
  end
  local queue, feedLimit = queueOf(record.model, record.lane), feedLimitOf(record.model, record.lane)
  local isParked = mustPark(queue, tenant, feedLimit)
  placeQueueJob(isParked, record.model, queue, feedLimit, tenant, id .. '-' .. run, record.rows, record.priority,
    cjson.encode({tenant = tenant}), options)
end

local function forgetFlight(row)
  redis.call('HDEL', P .. 'flight-leaders', row)
  redis.call('ZREM', FLIGHTS, row)
end

-- Whether the leader of a row whose lease is over has not had its time, which begins when it is started: then it has more.
local function renewLease(row, member)
  local tenant, id, run = runOf(member)
  if not tenant then return false end
  local leader = readRun(tenant, id)
  if leader.run ~= run or not isActive(leader.state) or leader.following then return false end
  local fields = redis.call('HMGET', recordKey(tenant, id), 'reuse', 'started_us')
  local reuse = reuseOf(fields[1])
  if not reuse then return false end
  local begunMs = leader.state == 'queued' and NOW_MS or math.floor((tonumber(fields[2]) or 0) / 1000)
  local untilMs = begunMs + reuse.leaseMs
  if untilMs <= NOW_MS then return false end
  redis.call('ZADD', FLIGHTS, untilMs, row)
  return true
end

-- Looks at up to 'room' followers of a row whose lease is over; how many it looked at.
local function releaseFollowers(row, room, options)
  local leader, waiting = redis.call('HGET', P .. 'flight-leaders', row), followersKey(row)
  if renewLease(row, leader) then return 1 end
  local looked = 0
  for _, member in ipairs(redis.call('ZRANGE', waiting, 0, room - 1)) do
    looked = looked + 1
    redis.call('ZREM', waiting, member)
    local tenant, id, run = runOf(member)
    local record = tenant and readRun(tenant, id)
    if record and record.run == run and record.state == 'queued' and record.following == row then
      if leader ~= 'succeeded' then redis.call('HDEL', P .. 'flight-leaders', row) end
      letGo(tenant, id, run, record, row, leader == 'succeeded', options)
      -- It leads now: the others wait for it.
      local next = redis.call('HGET', P .. 'flight-leaders', row)
      if next and next ~= leader then return looked end
    end
  end
  if redis.call('EXISTS', waiting) == 0 then forgetFlight(row) end
  return math.max(looked, 1)
end

-- Whether more are left to be looked at.
local function releaseFlights(room, options)
  for _, row in ipairs(redis.call('ZRANGEBYSCORE', FLIGHTS, '-inf', NOW_MS, 'LIMIT', 0, room)) do
    if room <= 0 then return true end
    room = room - releaseFollowers(row, room, options)
  end
  return redis.call('ZCOUNT', FLIGHTS, '-inf', NOW_MS) > 0
end
`;
