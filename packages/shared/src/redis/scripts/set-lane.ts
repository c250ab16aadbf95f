import { createRequire } from 'node:module';
import { AUDIT_FUNCTIONS } from './audit-functions.ts';
import { RECORD_FUNCTIONS } from './record-functions.ts';
import { SHARE_FUNCTIONS } from './share-functions.ts';

// As in add-queue-job.ts.
const { pause } = createRequire(import.meta.url)('bullmq/dist/cjs/scripts/pause-7.js') as {
  pause: { content: string };
};

/**
 * Sets what a lane of a model does. BullMQ's own flag pauses it, which every source of jobs honours.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 model, 4 lane, 5 state, 6 lines of the audit log, 7 who did it, as JSON.
 */
export const SET_LANE_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
${AUDIT_FUNCTIONS}
${SHARE_FUNCTIONS}
local function pauseQueue(KEYS, ARGV)
${pause.content}
end
local model, lane, state = ARGV[3], ARGV[4], ARGV[5]
local queue, backlog = queueOf(model, lane), P .. 'backlog:' .. model
local Q = P .. 'bull:' .. queue .. ':'
assertKinds({[backlog] = 'hash', [P .. 'audit'] = 'stream', [P .. 'audit-head'] = 'hash'})
redis.call('DEL', KEYS[1])
if state == 'draining' then redis.call('HSET', backlog, 'draining:' .. lane, 1)
else redis.call('HDEL', backlog, 'draining:' .. lane) end
local rest = {Q .. 'meta', Q .. 'prioritized', Q .. 'events', Q .. 'delayed', Q .. 'marker'}
if state == 'paused' then
  pauseQueue({Q .. 'wait', Q .. 'paused', unpack(rest)}, {'paused', '0'})
else
  pauseQueue({Q .. 'paused', Q .. 'wait', unpack(rest)}, {'resumed', '0'})
  feedQueue(queue, feedLimitOf(model, lane), 0)
end
appendAudit(P .. 'audit', P .. 'audit-head', {action = 'lane.' .. state, model = model, lane = lane}, ARGV[7], ARGV[6])
return 1
`;
