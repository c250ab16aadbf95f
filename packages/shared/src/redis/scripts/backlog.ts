/**
 * What waits for a model, and since when.
 *
 * KEYS 1 backlog, 2… the wait lists of its queues. BullMQ pushes at the head and takes from the tail; what was canceled may
 * have left its id there.
 * Returns {now ms, {jobs, rows, bytes, finished jobs, finished rows}, {when the oldest one was queued, ms, or ''…}}.
 */
const LOOKS = 100;

export const BACKLOG_LUA = `
local time = redis.call('TIME')
local oldest = {}
for i = 2, #KEYS do
  local ids = redis.call('LRANGE', KEYS[i], -${LOOKS}, -1)
  local queuedAt
  for at = #ids, 1, -1 do
    queuedAt = redis.call('HGET', string.sub(KEYS[i], 1, -5) .. ids[at], 'timestamp')
    if queuedAt then break end
  end
  oldest[i - 1] = queuedAt or ''
end
return {
  math.floor(time[1] * 1000 + time[2] / 1000),
  redis.call('HMGET', KEYS[1], 'jobs', 'rows', 'bytes', 'finished_jobs', 'finished_rows'),
  oldest}
`;
