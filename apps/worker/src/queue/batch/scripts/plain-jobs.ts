/**
 * What BullMQ's scripts do to a plain job, for many at once: with three commands a job instead of some twenty. Plain is a
 * job without parent, children and deduplication, to be forgotten when it ends, in a queue without pause, global limits
 * and due delayed jobs; which is nearly every job here. All others are left to BullMQ's own code.
 *
 * The keys and fields are BullMQ's, so both ways may be mixed as one likes. Only its event stream is not written: nobody
 * reads it here, and completion is told otherwise.
 *
 * Needs `Q`, `TOKEN`, `LOCK_MS`, `METRICS_MINUTES` and the locals of RECORD_FUNCTIONS.
 */
export const PLAIN_JOB_FUNCTIONS = `
local WAIT, ACTIVE, META, MARKER = Q .. 'wait', Q .. 'active', Q .. 'meta', Q .. 'marker'

-- Up to 'wanted' ids from the wait list, oldest first; none when BullMQ has to decide which job is next. And whether that
-- was all that the queue has.
local function popPlainIds(wanted)
  local meta = redis.call('HMGET', META, 'paused', 'concurrency', 'max')
  if wanted == 0 or meta[1] or meta[2] or meta[3] then return {}, false end
  -- As in its promoteDelayedJobs: the id is baked into the score.
  if #redis.call('ZRANGEBYSCORE', Q .. 'delayed', 0, (NOW_MS + 1) * 0x1000 - 1, 'LIMIT', 0, 1) > 0 then return {}, false end
  local ids = redis.call('RPOP', WAIT, wanted) or {}
  return ids, #ids < wanted and redis.call('EXISTS', Q .. 'delayed', Q .. 'prioritized') == 0
end

-- Locks a job that was popped: {data, opts, attempts made, stalls}.
local function lockPlainJob(jobId)
  local key = Q .. jobId
  redis.call('SET', key .. ':lock', TOKEN, 'PX', LOCK_MS)
  local fields = redis.call('HMGET', key, 'data', 'opts', 'atm', 'stc', 'ats')
  redis.call('HSET', key, 'processedOn', NOW_MS, 'ats', (fields[5] or 0) + 1)
  return fields
end

-- Those before number 'rest' are active now, the others wait again, in their old places.
local function placePlainIds(ids, rest)
  if rest > 1 then
    redis.call('LPUSH', ACTIVE, unpack(ids, 1, rest - 1))
    redis.call('ZADD', MARKER, 0, '0')
  end
  for i = #ids, rest, -1 do redis.call('RPUSH', WAIT, ids[i]) end
end

-- As BullMQ's collectMetrics, for many jobs: how many have ended, and how many in each of the last minutes.
local function countMetrics(ended)
  if METRICS_MINUTES == 0 then return end
  local meta, points = Q .. 'metrics:completed', Q .. 'metrics:completed:data'
  local before = redis.call('HINCRBY', meta, 'count', ended) - ended
  local last = redis.call('HMGET', meta, 'prevTS', 'prevCount')
  if not last[1] then
    redis.call('HSET', meta, 'prevTS', NOW_MS, 'prevCount', 0)
    return
  end
  local minutes = math.min(math.floor(NOW_MS / 60000) - math.floor(last[1] / 60000), METRICS_MINUTES)
  if minutes < 1 then return end
  local values = {before - last[2]}
  for i = 2, minutes do values[i] = 0 end
  redis.call('LPUSH', points, unpack(values))
  redis.call('LTRIM', points, 0, METRICS_MINUTES - 1)
  redis.call('HSET', meta, 'prevTS', NOW_MS, 'prevCount', before)
end

-- Takes jobs out of the queue for good. One whose lock is not its token's is left alone. 'finishOne' is BullMQ's way.
local function finishPlainJobs(jobs, finishOne)
  if #jobs == 0 then return end
  local locks, children = {}, {}
  for i, job in ipairs(jobs) do
    local key = Q .. job.id
    locks[i] = key .. ':lock'
    children[i * 2 - 1], children[i * 2] = key .. ':dependencies', key .. ':unsuccessful'
  end
  local holders = redis.call('MGET', unpack(locks))
  local arePlain = redis.call('EXISTS', unpack(children)) == 0
  local ids, keys = {}, {}
  for i, job in ipairs(jobs) do
    local key = Q .. job.id
    local ties = redis.call('HMGET', key, 'parentKey', 'deid')
    if arePlain and holders[i] == job.token and not ties[1] and not ties[2]
      and redis.call('LREM', ACTIVE, -1, job.id) > 0 then
      ids[#ids + 1] = job.id
      local at = #keys
      keys[at + 1], keys[at + 2], keys[at + 3] = key, locks[i], key .. ':logs'
      keys[at + 4], keys[at + 5] = key .. ':processed', key .. ':failed'
    else
      finishOne(job.id, job.token)
    end
  end
  if #ids == 0 then return end
  redis.call('DEL', unpack(keys))
  redis.call('SREM', Q .. 'stalled', unpack(ids))
  countMetrics(#ids)
end
`;
