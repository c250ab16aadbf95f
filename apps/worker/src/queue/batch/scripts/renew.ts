/**
 * Renews the locks of N jobs of a partition. A lock that ran out while nobody else took the job (Redis was away) is taken
 * again: our fence still says whose the job is.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 lock ms; then per job: prefix of its queue's keys, queue job's id, lock token, tenant,
 *      id, run, attempt.
 * Returns the numbers, from 0, of the jobs that are lost: another attempt has them, or the run is over.
 *
 * BullMQ's own script begins with SET, which a full Redis refuses: this one begins with DEL.
 */
export const RENEW_LUA = `
local P, LOCK_MS = ARGV[1], ARGV[2]
redis.call('DEL', KEYS[1])
local function isOurs(at)
  local record = redis.call('HMGET', P .. 'job:' .. ARGV[at + 3] .. ':' .. ARGV[at + 4], 'state', 'run', 'attempt')
  return record[1] == 'running' and record[2] == ARGV[at + 5] and record[3] == ARGV[at + 6]
end
local lost = {}
for at = 3, #ARGV, 7 do
  local lock, token = ARGV[at] .. ARGV[at + 1] .. ':lock', ARGV[at + 2]
  local holder = redis.call('GET', lock)
  if holder == token or not holder and isOurs(at) then
    redis.call('SET', lock, token, 'PX', LOCK_MS)
    redis.call('SREM', ARGV[at] .. 'stalled', ARGV[at + 1])
  else
    lost[#lost + 1] = (at - 3) / 7
  end
end
return lost
`;
