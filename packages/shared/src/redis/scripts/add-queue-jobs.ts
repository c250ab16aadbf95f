/**
 * Puts jobs into a BullMQ queue. Needs the locals of RECORD_FUNCTIONS.
 *
 * What BullMQ's addStandardJob does for jobs with an id of their own, and without parent, delay, priority and
 * deduplication, which all of ours are: the same keys and fields, so that its own code takes it from there. Not written are its counter, which is
 * for jobs without ids, and its event stream, which nobody reads.
 */
export const ADD_QUEUE_JOBS = `
-- 'Q': prefix of the queue's keys. 'jobs': {id, data, Unix ms} each, of which those that are there stay as they are. 'options': of all, as JSON.
local function addQueueJobs(Q, jobs, options)
  local meta = redis.call('HMGET', Q .. 'meta', 'paused', 'concurrency', 'opts.maxLenEvents')
  -- BullMQ's other scripts do write into that stream; its default length would cost megabytes a queue.
  if not meta[3] then redis.call('HSET', Q .. 'meta', 'opts.maxLenEvents', 100) end
  local ids = {}
  for _, job in ipairs(jobs) do
    local key = Q .. job[1]
    if redis.call('EXISTS', key) == 0 then
      redis.call('HSET', key, 'name', 'job', 'data', job[2], 'opts', options, 'timestamp', job[3], 'delay', 0, 'priority', 0)
      ids[#ids + 1] = job[1]
    end
  end
  if #ids == 0 then return end
  redis.call('LPUSH', Q .. 'wait', unpack(ids))
  local isMaxed = meta[2] and redis.call('LLEN', Q .. 'active') >= tonumber(meta[2])
  if not meta[1] and not isMaxed then redis.call('ZADD', Q .. 'marker', 0, '0') end
end
`;
