import { RECORD_FUNCTIONS } from './record-functions.ts';

/**
 * Ends the runs whose time is up: queued ones that nobody started (expired), running ones beyond their timeout (failed).
 * Any process may run it, as often as it likes; it needs no worker, and a paused queue does not stop it.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 how many at most.
 * Returns {how many were due, ms to the next one or -1}: the caller goes on while as many are due as it asked for.
 */
export const SWEEP_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
local members = redis.call('ZRANGEBYSCORE', DUE, '-inf', NOW_MS, 'LIMIT', 0, ARGV[3])
if #members > 0 then redis.call('DEL', KEYS[1]) end
for _, member in ipairs(members) do
  local tenant, id, run = string.match(member, '^(.*):([^:]+):([^:]+)$')
  local record = redis.call('HMGET', recordKey(tenant, id), 'state', 'started_us', 'queue_due_ms', 'run_due_ms', 'run')
  if record[1] and record[5] == run then endIfDue(tenant, id, record) end
  redis.call('ZREM', DUE, member)
end
tell()
local following = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
return {#members, following[2] and math.max(0, math.ceil(following[2] - NOW_MS)) or -1}
`;
