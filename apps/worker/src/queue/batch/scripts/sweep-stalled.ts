import { MOVE_STALLED_JOBS } from './bull-functions.ts';

/** A stall says that a worker died, not that the job is to blame: it may be anybody's neighbour. */
const MAX_STALLED = 1_000_000_000;

/**
 * Puts the jobs of dead workers back, of N queues: BullMQ's own two steps, first marked, put back at the next look.
 *
 * KEYS 1 scratch. ARGV 1 ms to the next look, then the prefixes of the queues' keys. Returns how many were put back.
 *
 * BullMQ's own script begins with SET, which a full Redis refuses: this one begins with DEL.
 */
export const SWEEP_STALLED_LUA = `
${MOVE_STALLED_JOBS}
redis.call('DEL', KEYS[1])
local time = redis.call('TIME')
local NOW_MS = math.floor(time[1] * 1000 + time[2] / 1000)
local count = 0
for i = 2, #ARGV do
  local Q = ARGV[i]
  count = count + #moveStalledJobsToWait(
    {Q .. 'stalled', Q .. 'wait', Q .. 'active', Q .. 'stalled-check', Q .. 'meta', Q .. 'paused', Q .. 'marker',
     Q .. 'events', Q .. 'repeat'},
    {${MAX_STALLED}, Q, NOW_MS, ARGV[1]})
end
return count
`;
