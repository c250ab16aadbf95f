import { FLIGHT_FUNCTIONS } from './flight-functions.ts';
import { PLACE_QUEUE_JOB } from './place-queue-job.ts';
import { RECORD_FUNCTIONS } from './record-functions.ts';

/** Followers of flights that one sweep looks at. */
const FOLLOWERS_PER_SWEEP = 64;

/**
 * Ends the runs whose time is up: queued ones that nobody started (expired), running ones beyond their timeout (failed), and
 * any beyond their `Cancel-After`. Puts those into their queue whose time has come, and looks after jobs that wait for a flight that is over. Any process may run it, as often as it likes; it needs no worker, and a paused queue does not stop it.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 how many at most, 4 the options of BullMQ's jobs as JSON.
 * Returns {how many were due, as many as it asked for where followers are left, ms to the next one or -1}: the caller goes on while as many are due as it asked for.
 */
export const SWEEP_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
${PLACE_QUEUE_JOB}
${FLIGHT_FUNCTIONS}
local members = redis.call('ZRANGEBYSCORE', DUE, '-inf', NOW_MS, 'LIMIT', 0, ARGV[3])
local scheduled = redis.call('ZRANGEBYSCORE', SCHEDULED, '-inf', NOW_MS, 'LIMIT', 0, ARGV[3] - #members)
local hasFlights = redis.call('ZCOUNT', FLIGHTS, '-inf', NOW_MS) > 0
if #members + #scheduled > 0 or hasFlights then redis.call('DEL', KEYS[1]) end

local function cancelIfDue(tenant, id, run)
  local record = readRun(tenant, id)
  if record.run ~= run or not isActive(record.state) then return end
  assertRunKinds(record.model)
  endRun(tenant, id, record, {state = 'canceled', error = cjson.encode({
    code = 'canceled', detail = 'The job did not end within its Cancel-After.'})})
  if record.state == 'queued' then removeQueueJob(tenant, record, id, run) end
  halted[#halted + 1] = id .. '-' .. run
end

-- A run whose time has come is queued as if it were posted now; its time in the queue begins.
local function placeScheduled(tenant, id, run)
  local key, record = recordKey(tenant, id), readRun(tenant, id)
  if record.run ~= run or record.state ~= 'queued' or not record.isScheduled then return end
  local queue = queueOf(record.model, record.lane)
  assertKinds({[OUTBOX] = 'stream', [P .. 'backlog:' .. record.model] = 'hash'})
  local feedLimit = feedLimitOf(record.model, record.lane)
  local isParked = mustPark(queue, tenant, feedLimit)
  redis.call('HDEL', key, 'scheduled_ms')
  redis.call('HSET', key, 'queued_us', NOW_US)
  local expiresInMs = redis.call('HGET', key, 'expires_in_ms')
  if expiresInMs then beginToExpire(tenant, id, run, expiresInMs) end
  placeQueueJob(isParked, record.model, queue, feedLimit, tenant, id .. '-' .. run, record.rows, record.priority,
    cjson.encode({tenant = tenant}), ARGV[4])
  tellEvent(tenant, id, run, record, 'job.queued')
end

for _, member in ipairs(members) do
  local tenant, id, run = string.match(member, '^(.*):([^:]+):([^:]+)$')
  local record = redis.call('HMGET', recordKey(tenant, id), 'state', 'started_us', 'queue_due_ms', 'run_due_ms', 'run')
  if record[1] and record[5] == run then endIfDue(tenant, id, record) end
  redis.call('ZREM', DUE, member)
end
for _, member in ipairs(scheduled) do
  local tenant, id, run = string.match(member, '^(.*):([^:]+):([^:]+)$')
  local canceledRun = string.match(run, '^(%d+)%.cancel$')
  if canceledRun then cancelIfDue(tenant, id, canceledRun) else placeScheduled(tenant, id, run) end
  redis.call('ZREM', SCHEDULED, member)
end
local isCut = hasFlights and releaseFlights(${FOLLOWERS_PER_SWEEP}, ARGV[4])
tell()
local nextMs = math.huge
for _, set in ipairs({DUE, SCHEDULED, FLIGHTS}) do
  nextMs = math.min(nextMs, redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2] or math.huge)
end
return {isCut and tonumber(ARGV[3]) or #members + #scheduled, nextMs < math.huge and math.max(0, math.ceil(nextMs - NOW_MS)) or -1}
`;
