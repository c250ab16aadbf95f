import { AUDIT_FUNCTIONS } from './audit-functions.ts';
import { RECORD_FUNCTIONS } from './record-functions.ts';

/** Tenants whose parked jobs one call looks at; those behind them come with the next one. */
const MAX_TENANTS = 1000;

/**
 * Cancels jobs of a queue that no worker holds: those in BullMQ's lists, and those that are parked.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 model, 4 lane, 5 how many at most, 6 lines of the audit log, 7 who did it, as JSON.
 * Returns {jobs canceled, jobs looked at}: while as many were looked at as it may, there may be more.
 *
 * It starts with a DEL, which a full Redis allows: a purge makes room.
 */
export const PURGE_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
${AUDIT_FUNCTIONS}
local model, lane, limit = ARGV[3], ARGV[4], tonumber(ARGV[5])
local queue = queueOf(model, lane)
local Q, turns = P .. 'bull:' .. queue .. ':', P .. 'shares:' .. queue .. ':turns'
assertRunKinds(model)
assertKinds({[P .. 'audit'] = 'stream', [P .. 'audit-head'] = 'hash'})
redis.call('DEL', KEYS[1])

local jobs = {}
local function addAll(ids, tenant)
  for _, member in ipairs(ids) do
    if #jobs == limit then return end
    jobs[#jobs + 1] = {string.match(member, '^%S+'), tenant}
  end
end
addAll(redis.call('LRANGE', Q .. 'wait', 0, limit - 1))
addAll(redis.call('ZRANGE', Q .. 'prioritized', 0, limit - 1))
addAll(redis.call('ZRANGE', Q .. 'delayed', 0, limit - 1))
for _, tenant in ipairs(redis.call('ZRANGE', turns, 0, ${MAX_TENANTS - 1})) do
  if #jobs == limit then break end
  addAll(redis.call('ZRANGE', parkedKey(queue, tenant), 0, limit - 1), tenant)
end

local purged = 0
for _, job in ipairs(jobs) do
  local jobId, tenant = job[1], job[2]
  if not tenant then
    local isJson, data = pcall(cjson.decode, redis.call('HGET', Q .. jobId, 'data') or '')
    tenant = isJson and type(data) == 'table' and data.tenant
  end
  local id, run = string.match(jobId, '^(.*)%-(%d+)$')
  local record = tenant and id and readRun(tenant, id)
  if record and record.state == 'queued' and record.run == run then
    endRun(tenant, id, record, {state = 'canceled', error = cjson.encode({
      code = 'canceled', detail = 'An operator purged the queue.'})})
    removeQueueJob(tenant, record, id, run)
    purged = purged + 1
  else
    -- Canceled before, or nobody's: only its id was left.
    redis.call('LREM', Q .. 'wait', 1, jobId)
  end
end
tell()
appendAudit(P .. 'audit', P .. 'audit-head', {action = 'lane.purged', model = model, lane = lane, jobs = purged}, ARGV[7],
  ARGV[6])
return {purged, #jobs}
`;
