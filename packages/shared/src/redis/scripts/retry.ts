import { INDEX_FUNCTIONS } from './index-functions.ts';
import { PLACE_QUEUE_JOB } from './place-queue-job.ts';
import { RECORD_FUNCTIONS } from './record-functions.ts';

/**
 * Opens the next run of a job whose last one did not succeed. What that one left is kept under `runs`; the record
 * begins anew, with a fence that starts at 0 for the new run.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 tenant, 4 id, 5 max jobs, 6 max rows, 7 max bytes, 8 BullMQ's job
 *      data, 9 its options as JSON, 10 '1' to run the unfinished rows alone.
 * Returns {'missing'}, {'not_retryable', state}, {'backlog_full', dimension, …} or {'queued', run}.
 */
export const RETRY_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
${PLACE_QUEUE_JOB}
${INDEX_FUNCTIONS}
local tenant, id = ARGV[3], ARGV[4]
local key = recordKey(tenant, id)
local record = redis.call('HMGET', key, 'state', 'run', 'model', 'rows', 'bytes', 'lane', 'expires_in_ms', 'attempt',
  'queued_us', 'started_us', 'finished_us', 'results', 'error', 'provenance', 'timings', 'origin', 'batch', 'priority', 'blobs',
  'kept', 'webhook', 'webhook_events', 'progress')
local state, run, model = record[1], record[2], record[3]
if not state then return {'missing'} end
if isActive(state) or state == 'succeeded' then return {'not_retryable', state} end
assertKinds({[OUTBOX] = 'stream', [DUE] = 'zset', [BLOBS] = 'zset', [P .. 'backlog:' .. model] = 'hash', [P .. 'runs:' .. tenant .. ':' .. id] = 'list'})
local queue = queueOf(model, record[6])
local full, backlog, feedLimit = fullDimension(model, record[6], record[4], record[5], ARGV[5], ARGV[6], ARGV[7])
if full then return {'backlog_full', full, unpack(backlog)} end
local isParked = mustPark(queue, tenant, feedLimit)

-- The fields of a run are numbers and JSON already: put together as text, since cjson would round them.
local function member(name, json) return '"' .. name .. '":' .. (json or 'null') end
redis.call('RPUSH', P .. 'runs:' .. tenant .. ':' .. id, '{' .. table.concat({
  member('schema_version', blobOf(record[12]) and '3' or '2'), member('run', run), member('state', '"' .. state .. '"'), member('attempt', record[8]), member('queued_us', record[9]),
  member('started_us', record[10]), member('finished_us', record[11]), member('results', record[12]),
  member('error', record[13]), member('provenance', record[14]), member('timings', record[15]),
  member('origin', record[16] and '"' .. record[16] .. '"'), member('batch', record[17]),
  member('progress', record[23])}, ',') .. '}')
redis.call('HDEL', key, 'started_us', 'finished_us', 'expires_ms', 'results', 'error', 'provenance', 'origin', 'batch', 'timings',
  'queue_due_ms', 'run_due_ms', 'scheduled_ms', 'has_cancel_after', 'progress', 'flight', 'following', 'reuse')
-- What the last run has, or what it was to add to. Results in the blob store are kept by nobody: all rows run.
local hasResults = string.sub(record[12] or '', 1, 1) == '['
local kept = ARGV[10] == '1' and (hasResults and '{"run":' .. run .. ',"results":' .. record[12] .. '}' or record[20])
if kept then redis.call('HSET', key, 'kept', kept) else redis.call('HDEL', key, 'kept') end
local nextRun = redis.call('HINCRBY', key, 'run', 1)
redis.call('HSET', key, 'state', 'queued', 'attempt', 0, 'queued_us', NOW_US)
redis.call('PERSIST', key)
redis.call('PERSIST', P .. 'runs:' .. tenant .. ':' .. id)
if record[19] then keepBlobs(tenant, record[19], NOW_MS + HELD_BLOB_MS) end
if record[7] then beginToExpire(tenant, id, nextRun, record[7]) end
unlistEnd(tenant, id, model, state)
count(model, {jobs = 1, rows = record[4], bytes = record[5]})
placeQueueJob(isParked, model, queue, feedLimit, tenant, id .. '-' .. nextRun, record[4], record[18] or 0, ARGV[8], ARGV[9])
tellEvent(tenant, id, nextRun, {webhook = record[21], webhookEvents = record[22]}, 'job.queued')
tell()
return {'queued', nextRun}
`;
