import { LANES } from '../../lane.ts';
import { PARKED_ORDER } from './parked-order.ts';

/**
 * What waits for a model, and since when.
 *
 * KEYS 1 backlog, then per queue: its wait list, and the turns of its tenants. BullMQ pushes at the head and takes from the
 * tail; what was canceled may have left its id there.
 * Returns {now ms, {jobs, rows, bytes, finished jobs, finished rows, finished jobs by lane…}, {when the oldest one was queued, ms, or ''…},
 * {jobs that wait…}}.
 */
const LOOKS = 100;
/** Beyond so many tenants the age is that of the oldest job of some, and others' jobs are not counted. */
const TENANTS = 1000;

const FINISHED_BY_LANE = LANES.map((lane) => `'finished_jobs:${lane}'`).join(', ');

export const BACKLOG_LUA = `
${PARKED_ORDER}
local time = redis.call('TIME')
local oldest, waiting = {}, {}
for i = 2, #KEYS, 2 do
  -- BullMQ moves the list of a queue that is paused, and back.
  local paused = string.sub(KEYS[i], 1, -5) .. 'paused'
  local list = redis.call('EXISTS', paused) == 1 and paused or KEYS[i]
  local jobs = redis.call('LLEN', list)
  local ids = redis.call('LRANGE', list, -${LOOKS}, -1)
  local queuedAt
  for at = #ids, 1, -1 do
    queuedAt = redis.call('HGET', string.sub(KEYS[i], 1, -5) .. ids[at], 'timestamp')
    if queuedAt then break end
  end
  for _, tenant in ipairs(redis.call('ZRANGE', KEYS[i + 1], 0, ${TENANTS - 1})) do
    local parked = string.sub(KEYS[i + 1], 1, -6) .. 'parked:' .. tenant
    jobs = jobs + redis.call('ZCARD', parked)
    local parkedUs = oldestParkedUs(parked)
    if parkedUs then queuedAt = math.min(queuedAt or math.huge, parkedUs / 1000) end
  end
  oldest[i / 2] = queuedAt and string.format('%.0f', queuedAt) or ''
  waiting[i / 2] = jobs
end
return {
  math.floor(time[1] * 1000 + time[2] / 1000),
  redis.call('HMGET', KEYS[1], 'jobs', 'rows', 'bytes', 'finished_jobs', 'finished_rows', ${FINISHED_BY_LANE}),
  oldest, waiting}
`;
