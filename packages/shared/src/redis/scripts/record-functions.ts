/**
 * What the scripts do to a job record, as Lua functions; every script begins with them. They need `P`, the partition's
 * key prefix, and `RETENTION_MS` as locals above them.
 *
 * Keys are built here from the prefix: they share one hash tag, and each script names one key of it in KEYS, so that
 * Redis Cluster sends it to the right node. All times are Redis' own: clients' clocks jump.
 *
 * A record is a hash. `state`, `run` and `attempt` decide who may change it (job-state.ts has the table); `queue_due_ms`
 * and `run_due_ms` say by when it must have started and ended, and stand in the partition's `due` set while they matter. In
 * a set of its own, `scheduled`, which processes of version 0.1 leave alone, stand `scheduled_ms`, before which the run is in no
 * queue, and when a `Cancel-After` is over. `blobs` names what the record has in the blob store.
 */
export const RECORD_FUNCTIONS = `
local time = redis.call('TIME')
local NOW_US = string.format('%.0f', time[1] * 1000000 + time[2])
local NOW_MS = math.floor(time[1] * 1000 + time[2] / 1000)
-- Jobs in a queue's wait list while no worker has said what suits it.
local DEFAULT_FEED_LIMIT = 64
local OUTBOX, DUE, SCHEDULED, BLOBS, FLIGHTS = P .. 'outbox', P .. 'due', P .. 'scheduled', P .. 'blobs', P .. 'flights'
-- A blob of a record that has not ended is kept for so long, and then looked at again.
local HELD_BLOB_MS = 7 * 86400000
-- Nobody reads a blob to its end who began before its record was gone.
local BLOB_GRACE_MS = 60000
-- Jobs that ended in this script, for those who wait; and runs (job-run) that ended without their worker knowing.
local ended, halted = {}, {}

-- Nothing is rolled back, so a key that would break a script half-way is found before it writes. 'keys': kind by key.
local function assertKinds(keys)
  for key, kind in pairs(keys) do
    local found = redis.call('TYPE', key).ok
    if found ~= 'none' and found ~= kind then error('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. kind) end
  end
end
local function assertRunKinds(model)
  assertKinds({[OUTBOX] = 'stream', [DUE] = 'zset', [SCHEDULED] = 'zset', [BLOBS] = 'zset', [P .. 'backlog:' .. model] = 'hash',
    [P .. 'predictions:' .. model] = 'stream', [P .. 'origins'] = 'hash'})
end

local function recordKey(tenant, id) return P .. 'job:' .. tenant .. ':' .. id end
local function queueOf(model, lane) return model .. '.' .. lane end
local function parkedKey(queue, tenant) return P .. 'shares:' .. queue .. ':parked:' .. tenant end
local function dueMember(tenant, id, run) return tenant .. ':' .. id .. ':' .. run end
local function cancelMember(tenant, id, run) return dueMember(tenant, id, run) .. '.cancel' end
local function isActive(state) return state == 'queued' or state == 'running' end

-- The same as eventId() in events.ts.
local function eventId(id, run, type, sequence)
  return 'evt_' .. string.sub(redis.sha1hex(id .. '\\n' .. run .. '\\n' .. type .. '\\n' .. (sequence or 0)), 1, 32)
end

-- What changes in the backlogs, summed up by model: many jobs of one model end in one script. 'tell' writes it.
local counts = {}
local function count(model, changes)
  local sums = counts[model] or {}
  counts[model] = sums
  for field, change in pairs(changes) do sums[field] = (sums[field] or 0) + change end
end

-- What decides over the end of a run, and what has to follow it: all in one command, since thousands end in a second.
local function readRun(tenant, id)
  local fields = redis.call('HMGET', recordKey(tenant, id),
    'state', 'run', 'attempt', 'model', 'rows', 'bytes', 'webhook', 'queue_due_ms', 'run_due_ms', 'lane', 'scheduled_ms',
    'has_cancel_after', 'retention_ms', 'webhook_events', 'priority', 'blobs', 'flight', 'following')
  return {state = fields[1], run = fields[2], attempt = fields[3], model = fields[4], rows = fields[5],
    bytes = fields[6], webhook = fields[7], hasDeadline = fields[8] or fields[9], isScheduled = fields[11], lane = fields[10],
    hasCancelAfter = fields[12], retentionMs = fields[13] or RETENTION_MS, webhookEvents = fields[14],
    priority = fields[15] or 0, blobs = fields[16], flight = fields[17], following = fields[18]}
end

-- The name of the blob that stands for a field's JSON, or nil.
local function blobOf(json)
  if not json or string.sub(json, 1, 1) ~= '{' then return nil end
  return cjson.decode(json).blob
end

-- Says when blobs go, whose names have blanks between them.
local function keepBlobs(tenant, names, untilMs)
  for name in string.gmatch(names, '%S+') do redis.call('ZADD', BLOBS, untilMs, tenant .. ' ' .. name) end
end

local function lists(types, type) return string.find(' ' .. types .. ' ', ' ' .. type .. ' ', 1, true) ~= nil end

-- What is no end is told to those who name it.
local function isToldOf(record, type)
  local wanted = record.webhookEvents
  if not wanted then return type ~= 'job.queued' and type ~= 'job.started' and type ~= 'job.progress' end
  return lists(wanted, type)
end

-- Whether an endpoint of the tenant may want such an event: the relay looks at them one by one. Asked once a script and tenant.
local subscriptions = {}
local function isSubscribed(tenant, type)
  local types = subscriptions[tenant]
  if not types then
    -- Of another kind, it is nobody's subscription, and no reason to lose a job's end.
    local reply = redis.pcall('HVALS', P .. 'subscriptions:' .. tenant)
    types = reply.err and '' or table.concat(reply, ' ')
    subscriptions[tenant] = types
  end
  return types ~= '' and lists(types, type)
end

local function isTold(tenant, record, type)
  return record.webhook and isToldOf(record, type) or isSubscribed(tenant, type)
end

-- Writes the event of a state that was entered in this script: one entry for the job's own webhook, one for endpoints. 'more', of
-- events that a run has several of: 'sequence', and 'progress'.
local function tellEvent(tenant, id, run, record, type, more)
  more = more or {}
  local event = {
    schema_version = 1, id = eventId(id, run, type, more.sequence), progress = more.progress, type = type, tenant = tenant, job_id = id,
    run = tonumber(run), occurred_at_ms = NOW_MS, url = record.webhook}
  if record.webhook and isToldOf(record, type) then redis.call('XADD', OUTBOX, '*', 'event', cjson.encode(event)) end
  if isSubscribed(tenant, type) then
    event.schema_version, event.url = 2, nil
    redis.call('XADD', OUTBOX, '*', 'event', cjson.encode(event))
  end
end

-- Keeps a run out of its queue until a time; the sweep that finds it due puts it there.
local function schedule(tenant, id, run, dueMs)
  redis.call('HSET', recordKey(tenant, id), 'scheduled_ms', dueMs)
  redis.call('ZADD', SCHEDULED, dueMs, dueMember(tenant, id, run))
end

-- The time in which a run must have been started begins, now.
local function beginToExpire(tenant, id, run, expiresInMs)
  local due = NOW_MS + expiresInMs
  redis.call('HSET', recordKey(tenant, id), 'expires_in_ms', expiresInMs, 'queue_due_ms', due)
  redis.call('ZADD', DUE, due, dueMember(tenant, id, run))
end

-- A run that ends leads no rows any more and waits for none (flight-functions.ts): its followers are looked at by the next sweep. None of
-- it may keep a job from ending.
local function followersKey(row) return P .. 'followers:' .. row end
local function leaveFlight(tenant, id, record, state)
  local me = dueMember(tenant, id, record.run)
  if record.following then redis.pcall('ZREM', followersKey(record.following), me) end
  for row in string.gmatch(record.flight or '', '%S+') do
    if redis.pcall('HGET', P .. 'flight-leaders', row) == me then
      if redis.call('EXISTS', followersKey(row)) == 1 then
        redis.pcall('HSET', P .. 'flight-leaders', row, state)
        redis.pcall('ZADD', FLIGHTS, 0, row)
      else
        redis.pcall('HDEL', P .. 'flight-leaders', row)
        redis.pcall('ZREM', FLIGHTS, row)
      end
    end
  end
  redis.call('HDEL', recordKey(tenant, id), 'flight', 'following', 'reuse')
end

-- Ends the run: record, counters, outbox and those who wait together. Whoever calls has checked that it may.
-- 'record' is what readRun says; 'outcome' has a state, and may have results, error, batch and timings, as JSON, and
-- the id of an origin.
local function endRun(tenant, id, record, outcome)
  local key = recordKey(tenant, id)
  local fields = {'state', outcome.state, 'finished_us', NOW_US, 'expires_ms', NOW_MS + record.retentionMs}
  for _, field in ipairs({'results', 'error', 'origin', 'batch', 'timings'}) do
    local json = outcome[field]
    if json and json ~= '' then
      fields[#fields + 1] = field
      fields[#fields + 1] = json
    end
  end
  local resultsBlob = blobOf(outcome.results)
  if resultsBlob then
    record.blobs = (record.blobs and record.blobs .. ' ' or '') .. resultsBlob
    for _, value in ipairs({'blobs', record.blobs, 'schema_version', '3'}) do fields[#fields + 1] = value end
  end
  redis.call('HSET', key, unpack(fields))
  if record.blobs then
    keepBlobs(tenant, record.blobs, NOW_MS + record.retentionMs + BLOB_GRACE_MS)
    local inputs = outcome.state == 'succeeded' and string.match(record.blobs, '%S+%.inputs')
    if inputs then keepBlobs(tenant, inputs, NOW_MS) end
  end
  -- Only a run without success is ever run again; inputs are most of what a job with pictures weighs.
  if outcome.state == 'succeeded' then redis.call('HDEL', key, 'inputs', 'kept') end
  redis.call('PEXPIRE', key, record.retentionMs)
  if record.run ~= '1' then redis.call('PEXPIRE', P .. 'runs:' .. tenant .. ':' .. id, record.retentionMs) end
  -- A list that is of the wrong kind must not keep a job from ending.
  if outcome.state ~= 'succeeded' then
    redis.pcall('ZADD', P .. 'jobs:' .. tenant .. ':' .. record.model .. ':' .. outcome.state, 0, id)
  end
  count(record.model, {
    jobs = -1, rows = -record.rows, bytes = -record.bytes, finished_jobs = 1, finished_rows = tonumber(record.rows),
    ['finished_jobs:' .. (record.lane or 'interactive')] = 1})
  if record.hasDeadline then redis.call('ZREM', DUE, dueMember(tenant, id, record.run)) end
  if record.isScheduled then redis.call('ZREM', SCHEDULED, dueMember(tenant, id, record.run)) end
  if record.hasCancelAfter then redis.call('ZREM', SCHEDULED, cancelMember(tenant, id, record.run)) end
  if record.flight or record.following then leaveFlight(tenant, id, record, outcome.state) end
  tellEvent(tenant, id, record.run, record, 'job.' .. outcome.state)
  ended[#ended + 1] = id
end

-- Removes a run that nobody holds from its queue: from the parked ones, or what BullMQ has of it. Out of a long list that would cost too much: the id stays there,
-- and whoever claims it finds no job.
local function removeQueueJob(tenant, record, id, run)
  local name, jobId = queueOf(record.model, record.lane), id .. '-' .. run
  local queue = P .. 'bull:' .. name .. ':'
  if redis.call('ZREM', parkedKey(name, tenant), jobId .. ' ' .. record.rows) == 1 then return end
  if redis.call('EXISTS', queue .. jobId .. ':lock') == 1 then return end
  if redis.call('LLEN', queue .. 'wait') <= 1000 then redis.call('LREM', queue .. 'wait', 1, jobId) end
  redis.call('ZREM', queue .. 'delayed', jobId)
  redis.call('ZREM', queue .. 'prioritized', jobId)
  redis.call('DEL', queue .. jobId)
end

-- Ends a run whose time is up, and says so; false when it has time left, or has ended.
local function endIfDue(tenant, id, record, isHeld)
  -- 'record': state, started_us, queue_due_ms, run_due_ms, run. 'isHeld': the caller has BullMQ's job.
  local state, started, queueDue, runDue = record[1], record[2], tonumber(record[3]), tonumber(record[4])
  if state == 'queued' and not started and queueDue and queueDue <= NOW_MS then
    local run = readRun(tenant, id)
    assertRunKinds(run.model)
    endRun(tenant, id, run, {state = 'expired', error = cjson.encode({
      code = 'expired', detail = 'No worker started the job within its expires_in.'})})
    if not isHeld then removeQueueJob(tenant, run, id, run.run) end
    return true
  end
  if isActive(state) and started and runDue and runDue <= NOW_MS then
    local run = readRun(tenant, id)
    assertRunKinds(run.model)
    endRun(tenant, id, run, {state = 'failed', error = cjson.encode({
      code = 'timeout', detail = 'The run did not end within its timeout.'})})
    if state == 'queued' and not isHeld then removeQueueJob(tenant, run, id, run.run) end
    halted[#halted + 1] = id .. '-' .. record[5]
    return true
  end
  return false
end

-- Takes a job for an attempt of its own: {attempt, inputs, request, model, version, lane, queued us, now us, schema
-- version, results of an earlier run that are kept or ''}, or {} when there is nothing to do. The attempt's number is the fence: it is counted up here and nowhere else.
local function claimRun(tenant, id, run)
  local key = recordKey(tenant, id)
  local record = redis.call('HMGET', key, 'state', 'started_us', 'queue_due_ms', 'run_due_ms', 'run', 'inputs', 'request',
    'model', 'version', 'lane', 'queued_us', 'timeout_ms', 'attempt', 'schema_version', 'webhook', 'webhook_events', 'kept')
  if not isActive(record[1]) or tonumber(record[5]) ~= tonumber(run) then return {} end
  if endIfDue(tenant, id, record, true) then return {} end
  local told = {webhook = record[15], webhookEvents = record[16]}
  local isStartTold = not record[2] and isTold(tenant, told, 'job.started')
  if isStartTold then assertKinds({[OUTBOX] = 'stream'}) end
  local attempt = record[13] + 1
  redis.call('HSET', key, 'state', 'running', 'attempt', attempt, 'started_us', record[2] or NOW_US)
  if not record[2] then
    if record[12] then
      local due = NOW_MS + record[12]
      redis.call('HSET', key, 'run_due_ms', due)
      redis.call('ZADD', DUE, due, dueMember(tenant, id, run))
    elseif record[3] then
      redis.call('ZREM', DUE, dueMember(tenant, id, run))
    end
  end
  if isStartTold then tellEvent(tenant, id, run, told, 'job.started') end
  return {attempt, record[6], record[7], record[8], record[9], record[10], record[11], NOW_US, record[14] or '1', record[17] or ''}
end

-- A run whose first start came to nothing (it came to the wrong worker, or its worker drains) has not started: its time
-- in the queue goes on. 'claimedUs' is when the attempt was claimed, so that an earlier real start is left alone.
local function undoStart(tenant, id, run, claimedUs)
  local key = recordKey(tenant, id)
  local record = redis.call('HMGET', key, 'started_us', 'queue_due_ms', 'run_due_ms')
  if record[1] ~= claimedUs then return end
  redis.call('HDEL', key, 'started_us', 'run_due_ms')
  if record[3] then redis.call('ZREM', DUE, dueMember(tenant, id, run)) end
  if record[2] then redis.call('ZADD', DUE, record[2], dueMember(tenant, id, run)) end
end

-- Whether this attempt may commit this state: 1 yes, 2 it has done so before (its reply was lost), 0 no.
local function mayCommit(record, run, attempt, state)
  if record.run ~= run or record.attempt ~= attempt then return 0 end
  return record.state == 'running' and 1 or record.state == state and 2 or 0
end

-- The cap that one more job would pass, 'draining' when its lane takes none, or nil; {jobs, rows, bytes, finished jobs, finished rows}; and how many jobs suit
-- the wait list of the lane.
local function fullDimension(model, lane, rows, bytes, maxJobs, maxRows, maxBytes)
  local backlog = redis.call('HMGET', P .. 'backlog:' .. model, 'jobs', 'rows', 'bytes', 'finished_jobs', 'finished_rows',
    'draining:' .. lane, 'feed_limit:' .. lane)
  local feedLimit = tonumber(table.remove(backlog)) or DEFAULT_FEED_LIMIT
  local isDraining = table.remove(backlog)
  for i = 1, 5 do backlog[i] = tonumber(backlog[i]) or 0 end
  if isDraining then return 'draining', backlog end
  if backlog[1] + 1 > tonumber(maxJobs) then return 'jobs', backlog end
  if backlog[2] + rows > tonumber(maxRows) then return 'rows', backlog end
  if backlog[3] + bytes > tonumber(maxBytes) then return 'bytes', backlog end
  return nil, backlog, feedLimit
end

local function tell()
  for model, changes in pairs(counts) do
    for field, change in pairs(changes) do
      if change ~= 0 then redis.call('HINCRBY', P .. 'backlog:' .. model, field, change) end
    end
  end
  if #ended > 0 then redis.call('PUBLISH', P .. 'done', table.concat(ended, ' ')) end
  if #halted > 0 then redis.call('PUBLISH', P .. 'halt', table.concat(halted, ' ')) end
end
`;
