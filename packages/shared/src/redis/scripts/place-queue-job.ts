import { ADD_QUEUE_JOB } from './add-queue-job.ts';
import { SHARE_FUNCTIONS } from './share-functions.ts';

/**
 * Puts a run into its queue: into BullMQ's while that has room and nobody is parked, and else among its tenant's parked
 * jobs. Needs RECORD_FUNCTIONS.
 */
export const PLACE_QUEUE_JOB = `
${ADD_QUEUE_JOB}
${SHARE_FUNCTIONS}
-- Asked before the script writes anything.
local function assertPlaceKinds(queue, tenant)
  assertKinds({[turnsKey(queue)] = 'zset', [parkedKey(queue, tenant)] = 'zset', [P .. 'weights'] = 'hash'})
end

local function placeQueueJob(model, queue, feedLimit, tenant, jobId, rows, data, options)
  local Q = P .. 'bull:' .. queue .. ':'
  if redis.call('LLEN', Q .. 'wait') < feedLimit and redis.call('EXISTS', turnsKey(queue)) == 0 then
    return addQueueJob(Q, jobId, data, options)
  end
  redis.call('HSET', P .. 'backlog:' .. model, 'queue_options', options)
  parkQueueJob(queue, tenant, jobId, rows)
  -- There may be room after all: what was waiting was canceled, or the turns are those of tenants without jobs.
  feedQueue(queue, feedLimit, 0)
end
`;
