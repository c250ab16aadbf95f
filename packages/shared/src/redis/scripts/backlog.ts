/**
 * What waits for a model, and since when.
 *
 * KEYS 1 backlog, 2… the wait lists of its queues. BullMQ pushes at the head and takes from the tail.
 * Returns {now ms, {jobs, rows, bytes, finished jobs, finished rows}, {oldest queue job id or ''…}}.
 */
export const BACKLOG_LUA = `
local time = redis.call('TIME')
local oldest = {}
for i = 2, #KEYS do oldest[i - 1] = redis.call('LINDEX', KEYS[i], -1) or '' end
return {
  math.floor(time[1] * 1000 + time[2] / 1000),
  redis.call('HMGET', KEYS[1], 'jobs', 'rows', 'bytes', 'finished_jobs', 'finished_rows'),
  oldest}
`;
