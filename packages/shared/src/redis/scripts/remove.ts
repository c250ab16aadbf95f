import { AUDIT_FUNCTIONS } from './audit-functions.ts';
import { INDEX_FUNCTIONS } from './index-functions.ts';
import { RECORD_FUNCTIONS } from './record-functions.ts';

/**
 * Removes a job that has ended, with its runs, from everywhere but the lists by metadata, which drop it when they are read.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 tenant, 4 id, 5 for how long the removal is remembered, ms, 6 lines of the audit log,
 *      7 who did it, as JSON.
 * Returns {'missing'}, {'active', state} or {'removed', when, Unix ms}.
 *
 * It starts with a DEL, which a full Redis allows: removing is what makes room.
 */
export const REMOVE_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
${AUDIT_FUNCTIONS}
${INDEX_FUNCTIONS}
local tenant, id = ARGV[3], ARGV[4]
local tombstone, audit = P .. 'deleted:' .. tenant .. ':' .. id, P .. 'audit'
local record = readRun(tenant, id)
if not record.state then
  local removed = redis.call('GET', tombstone)
  if removed then return {'removed', removed} end
  return {'missing'}
end
if isActive(record.state) then return {'active', record.state} end
assertKinds({[audit] = 'stream', [P .. 'audit-head'] = 'hash', [BLOBS] = 'zset', [jobsKey(tenant, record.model)] = 'zset',
  [jobsKey(tenant, record.model) .. ':' .. record.state] = 'zset'})
redis.call('DEL', KEYS[1])
if record.blobs then keepBlobs(tenant, record.blobs, NOW_MS) end
redis.call('DEL', recordKey(tenant, id), P .. 'runs:' .. tenant .. ':' .. id)
redis.call('ZREM', jobsKey(tenant, record.model), id)
unlistEnd(tenant, id, record.model, record.state)
redis.call('SET', tombstone, NOW_MS, 'PX', ARGV[5])
appendAudit(audit, P .. 'audit-head', {action = 'job.deleted', tenant = tenant, job_id = id, model = record.model,
  state = record.state}, ARGV[7], ARGV[6])
return {'removed', tostring(NOW_MS)}
`;
