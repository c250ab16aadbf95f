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
 *      22 the metadata that it is listed under (index-functions.ts)
 * Returns {'accepted', created µs} or {'backlog_full', dimension, jobs, rows, bytes, finished jobs, finished rows}.
 *
 * The first write is HSET, which a full Redis refuses: then nothing at all has happened.
 */
export const ENQUEUE_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
${PLACE_QUEUE_JOB}
${INDEX_FUNCTIONS}
local id, tenant, model = ARGV[3], ARGV[4], ARGV[5]
local queue = queueOf(model, ARGV[7])
local key = recordKey(tenant, id)
local created = redis.call('HGET', key, 'created_us')
if created then return {'accepted', created} end
assertKinds({[DUE] = 'zset', [P .. 'backlog:' .. model] = 'hash', [jobsKey(tenant, model)] = 'zset'})
local full, backlog, feedLimit = fullDimension(model, ARGV[7], ARGV[8], ARGV[9], ARGV[12], ARGV[13], ARGV[14])
if full then return {'backlog_full', full, unpack(backlog)} end
local isParked = mustPark(queue, tenant, feedLimit)

redis.call('HSET', key,
  'schema_version', ARGV[18], 'id', id, 'tenant', tenant, 'state', 'queued', 'run', 1, 'attempt', 0,
  'model', model, 'version', ARGV[6], 'lane', ARGV[7], 'rows', ARGV[8], 'bytes', ARGV[9],
  'created_us', NOW_US, 'queued_us', NOW_US, 'request', ARGV[10], 'inputs', ARGV[11])
if ARGV[19] ~= '' then redis.call('HSET', key, 'webhook', ARGV[19]) end
if ARGV[20] ~= '' then redis.call('HSET', key, 'timeout_ms', ARGV[20]) end
if ARGV[21] ~= '' then
  local due = NOW_MS + ARGV[21]
  redis.call('HSET', key, 'expires_in_ms', ARGV[21], 'queue_due_ms', due)
  redis.call('ZADD', DUE, due, dueMember(tenant, id, 1))
end
listJob(tenant, id, model, ARGV[22])
count(model, {jobs = 1, rows = ARGV[8], bytes = ARGV[9]})
placeQueueJob(isParked, model, queue, feedLimit, tenant, ARGV[15], ARGV[8], ARGV[16], ARGV[17])
tell()
return {'accepted', NOW_US}
`;
