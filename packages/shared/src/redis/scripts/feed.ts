import { RECORD_FUNCTIONS } from './record-functions.ts';
import { SHARE_FUNCTIONS } from './share-functions.ts';

/**
 * Says how many jobs suit the wait lists of queues, and fills these from the jobs that are parked.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms; then per queue: model, lane, limit.
 *
 * It starts with a DEL, which a full Redis allows: work must drain.
 */
export const FEED_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
${SHARE_FUNCTIONS}
redis.call('DEL', KEYS[1])
for at = 3, #ARGV, 3 do
  setFeedLimit(ARGV[at], ARGV[at + 1], ARGV[at + 2])
  feedQueue(queueOf(ARGV[at], ARGV[at + 1]), tonumber(ARGV[at + 2]), 0)
end
return 1
`;
