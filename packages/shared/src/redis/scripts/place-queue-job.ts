import { SHARE_FUNCTIONS } from './share-functions.ts';

/**
 * Puts a run into its queue: into BullMQ's while that has room and nobody is parked, and else among its tenant's parked
 * jobs. Needs RECORD_FUNCTIONS.
 */
export const PLACE_QUEUE_JOB = `
${SHARE_FUNCTIONS}
-- Whether a job of the tenant has to wait for its turn. Asked before the script writes anything: it throws where it could
-- not be parked.
local function mustPark(queue, tenant, feedLimit)
  if redis.call('LLEN', P .. 'bull:' .. queue .. ':wait') < feedLimit and redis.call('EXISTS', turnsKey(queue)) == 0 then
    return false
  end
  assertKinds({[turnsKey(queue)] = 'zset', [parkedKey(queue, tenant)] = 'zset', [P .. 'weights'] = 'hash'})
  return true
end

local function placeQueueJob(isParked, model, queue, feedLimit, tenant, jobId, rows, priority, data, options)
  if not isParked then return addQueueJobs(P .. 'bull:' .. queue .. ':', {{jobId, data, NOW_MS}}, options) end
  redis.call('HSET', P .. 'backlog:' .. model, 'queue_options', options)
  parkQueueJob(queue, tenant, jobId, rows, priority)
  -- There may be room after all: what was waiting was canceled, or the turns are those of tenants without jobs.
  feedQueue(queue, feedLimit, 0)
end
`;
