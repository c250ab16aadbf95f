import { FLIGHT_FUNCTIONS } from './flight-functions.ts';
import { INDEX_FUNCTIONS } from './index-functions.ts';
import { PLACE_QUEUE_JOB } from './place-queue-job.ts';
import { RECORD_FUNCTIONS } from './record-functions.ts';

/**
 * Accepts a job: the record, the backlog's counters and its place in the queue, all or nothing. Existence is decided by our
 * record, so a repeat of the same id changes nothing.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 id, 4 tenant, 5 model, 6 version, 7 lane, 8 rows, 9 bytes, 10 request,
 *      11 inputs, 12 max jobs, 13 max rows, 14 max bytes, 15 BullMQ's job id, 16 its job data, 17 its options as JSON,
 *      18 schema version, 19 webhook or '', 20 timeout ms or '', 21 expires in ms or '',
 *      22 priority, 23 delay ms or '', 24 not before, Unix ms, or '', 25 cancel after ms or '', 26 retention ms or '', 27 the
 *      events of the webhook, separated by blanks, or '', 28 the blob of the inputs or '',
 *      29 the metadata that it is listed under (index-functions.ts), 30 the source of answers that may be reused or '', 31 the keys
 *      of the rows, separated by blanks, 32 the lease of a flight, ms, or '', 33 '1' to accept it only if all rows have answers,
 *      34 ms that each job before it takes at best, or ''
 * Returns {'accepted', created µs, 1 when it was this call that stored it, rows with answers, 'ended', 'following' or 'queued'}, {'unanswered'}, {'deadline_unmeetable', wait ms} or {'backlog_full', dimension, jobs, rows, bytes, finished jobs, finished rows}.
 *
 * The first write is HSET, which a full Redis refuses: then nothing at all has happened.
 */
export const ENQUEUE_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
${PLACE_QUEUE_JOB}
${INDEX_FUNCTIONS}
${FLIGHT_FUNCTIONS}
local id, tenant, model = ARGV[3], ARGV[4], ARGV[5]
local queue = queueOf(model, ARGV[7])
local key = recordKey(tenant, id)
local created = redis.call('HGET', key, 'created_us')
if created then return {'accepted', created, 0} end
local reuse, found, isAnswered = nil, nil, false
if ARGV[30] ~= '' then
  reuse = {leaseMs = tonumber(ARGV[32]), source = ARGV[30], keys = splitWords(ARGV[31])}
  assertRunKinds(model)
  assertKinds({[FLIGHTS] = 'zset', [P .. 'flight-leaders'] = 'hash'})
  found = cachedRows(model, ARGV[6], reuse.source, reuse.keys)
  isAnswered = found.count == #reuse.keys
  if ARGV[33] ~= '' and not isAnswered then return {'unanswered'} end
end
assertKinds({[DUE] = 'zset', [SCHEDULED] = 'zset', [BLOBS] = 'zset', [P .. 'backlog:' .. model] = 'hash',
  [jobsKey(tenant, model)] = 'zset'})
local told = {webhook = ARGV[19] ~= '' and ARGV[19], webhookEvents = ARGV[27] ~= '' and ARGV[27]}
local isQueueTold = isTold(tenant, told, 'job.queued')
if isQueueTold then assertKinds({[OUTBOX] = 'stream'}) end
local full, backlog, feedLimit = fullDimension(model, ARGV[7], ARGV[8], ARGV[9], ARGV[12], ARGV[13], ARGV[14])
-- What is answered already waits for nothing, and needs no room.
if full and (full == 'draining' or not isAnswered) then return {'backlog_full', full, unpack(backlog)} end
local isParked = not isAnswered and mustPark(queue, tenant, feedLimit)
local scheduled = tonumber(ARGV[24]) or ARGV[23] ~= '' and NOW_MS + ARGV[23] or 0
local isScheduled = scheduled > NOW_MS
-- What surely comes first: the wait list, and the tenant's own parked jobs of no lower priority. Of one that may follow another nobody knows.
if ARGV[34] ~= '' and not isScheduled and not reuse then
  local _, next = scoresOf(tonumber(ARGV[22]))
  local before = redis.call('LLEN', P .. 'bull:' .. queue .. ':wait')
  if isParked then before = before + redis.call('ZCOUNT', parkedKey(queue, tenant), '-inf', next) end
  local waitMs = math.floor(before * ARGV[34])
  if waitMs > tonumber(ARGV[21]) then return {'deadline_unmeetable', waitMs} end
end

redis.call('HSET', key,
  'schema_version', ARGV[18], 'id', id, 'tenant', tenant, 'state', 'queued', 'run', 1, 'attempt', 0,
  'model', model, 'version', ARGV[6], 'lane', ARGV[7], 'rows', ARGV[8], 'bytes', ARGV[9],
  'created_us', NOW_US, 'queued_us', NOW_US, 'request', ARGV[10], 'inputs', ARGV[11])
for i, field in pairs({[19] = 'webhook', [20] = 'timeout_ms', [21] = 'expires_in_ms', [26] = 'retention_ms', [27] = 'webhook_events'}) do
  if ARGV[i] ~= '' then redis.call('HSET', key, field, ARGV[i]) end
end
if ARGV[22] ~= '0' then redis.call('HSET', key, 'priority', ARGV[22]) end
if ARGV[25] ~= '' then
  redis.call('HSET', key, 'has_cancel_after', 1)
  redis.call('ZADD', SCHEDULED, NOW_MS + ARGV[25], cancelMember(tenant, id, 1))
end
if ARGV[28] ~= '' then
  redis.call('HSET', key, 'blobs', ARGV[28])
  keepBlobs(tenant, ARGV[28], NOW_MS + HELD_BLOB_MS)
end
if isScheduled then schedule(tenant, id, 1, scheduled)
elseif ARGV[21] ~= '' then beginToExpire(tenant, id, 1, ARGV[21]) end
listJob(tenant, id, model, ARGV[29])
count(model, {jobs = 1, rows = ARGV[8], bytes = ARGV[9]})
local state = 'queued'
if isAnswered then state = 'ended'
elseif found then
  if reuse.leaseMs then
    redis.call('HSET', key, 'reuse', ARGV[32] .. ' ' .. ARGV[30] .. ' ' .. ARGV[31])
    if joinFlight(tenant, id, 1, readRun(tenant, id), reuse, found) then state = 'following' end
  end
  -- As a run of the unfinished rows alone has it (kept-results.ts). Not of rows in the blob store, which are read as a whole.
  if found.count > 0 and ARGV[28] == '' then redis.call('HSET', key, 'kept', keptRows(found, #reuse.keys)) end
end
if not isScheduled then
  if state == 'queued' then
    placeQueueJob(isParked, model, queue, feedLimit, tenant, ARGV[15], ARGV[8], ARGV[22], ARGV[16], ARGV[17])
  end
  if isQueueTold then tellEvent(tenant, id, 1, told, 'job.queued') end
  if isAnswered then endAnswered(tenant, id, readRun(tenant, id), found) end
end
tell()
return {'accepted', NOW_US, 1, found and found.count or 0, state}
`;
