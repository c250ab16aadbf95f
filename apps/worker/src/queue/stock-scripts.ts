import { createRequire } from 'node:module';
import type { RedisConnection } from '@onqueue/shared/redis';

interface BullScript {
  name: string;
  content: string;
  /** How many of its arguments are keys. */
  keys: number;
}

// Not exported officially: hence the exact pin, and the version that is compared.
const require = createRequire(import.meta.url);
const bullScripts = require('bullmq/dist/cjs/scripts/index.js') as Record<string, BullScript | undefined>;
/** Of the bullmq that is installed. */
export const { version: BULLMQ_VERSION } = require('bullmq/dist/cjs/version.js') as { version: string };

/** The version whose scripts were read when this was written; the arguments of another one may stand elsewhere. */
const READ_VERSION = '6.7.0';

/** What is done before and after each script that BullMQ's Worker calls. */
const WORKER_SCRIPTS: Record<string, { clockAt?: number; before?: string; after?: string }> = {
  moveToActive: { clockAt: 2, after: 'inClientTime(reply)' },
  moveToFinished: {
    clockAt: 2,
    before: "if isRunOpen(ARGV[1], ARGV[7]) and putBack(ARGV[1], cmsgpack.unpack(ARGV[8])['token']) then return 0 end",
    after: 'inClientTime(reply)',
  },
  moveToDelayed: { clockAt: 2, after: 'inClientTime(reply)' },
  retryJob: { clockAt: 2 },
  moveStalledJobsToWait: { clockAt: 3 },
  extendLocks: {},
};

/**
 * Loads the scripts of BullMQ's Worker on a connection before BullMQ does, which then leaves them as they are. They are its
 * own, with three things around them that it does not do:
 *
 * - They begin with a DEL, which a full Redis allows, and with it what follows: jobs end, and end the fullness.
 * - The time is Redis' own. What they tell the worker of it is in the worker's time, so that its clock may be wrong.
 * - A job leaves the queue only when its run is over. Redis may have lost its last moments, and a commit with them, when the
 *   worker finishes what it has been told is committed; or the finish is sent again after such a loss. The job goes back to
 *   wait, and is run again: nobody else would ever look for it.
 *
 * False, and nothing is loaded, when another version of BullMQ is installed than was read for this. Other users of the
 * connection have the same scripts then; jobs that have no record of ours end as BullMQ likes.
 */
export function loadStockScripts(redis: RedisConnection): boolean {
  if (BULLMQ_VERSION !== READ_VERSION) return false;
  for (const [name, around] of Object.entries(WORKER_SCRIPTS)) {
    const script = bullScripts[name];
    if (!script) throw new Error(`bullmq ${BULLMQ_VERSION} has no script ${name}. This is a bug.`);
    redis.defineCommand(`${name}:${BULLMQ_VERSION}`, { lua: wrapped(script, around), numberOfKeys: script.keys });
  }
  return true;
}

function wrapped(
  { content }: BullScript,
  { clockAt, before = '', after = '' }: { clockAt?: number; before?: string; after?: string },
) {
  return `
local function bull(KEYS, ARGV)
${content}
end
${FUNCTIONS}
${clockAt === undefined ? '' : `CLIENT_MS = tonumber(ARGV[${clockAt}])\nARGV[${clockAt}] = string.format('%.0f', NOW_MS)`}
${before}
redis.call('DEL', KEYS[1] .. ':scratch')
local reply = bull(KEYS, ARGV)
${after}
return reply
`;
}

const FUNCTIONS = `
local time = redis.call('TIME')
local NOW_MS, CLIENT_MS = math.floor(time[1] * 1000 + time[2] / 1000), 0

-- The worker compares when a job was taken and when the next one is due with a clock of its own.
local function inClientTime(reply)
  if type(reply) ~= 'table' then return end
  if type(reply[1]) == 'table' then
    for i = 1, #reply[1], 2 do
      if reply[1][i] == 'processedOn' then reply[1][i + 1] = string.format('%.0f', CLIENT_MS) end
    end
  elseif tonumber(reply[4]) and reply[4] > 0 then
    reply[4] = math.ceil(reply[4] - NOW_MS + CLIENT_MS)
  end
end

-- Whether our record says that the run of a queue's job has yet to end. 'Q': the prefix of the queue's keys.
local function isRunOpen(jobId, Q)
  local P, id, run = string.match(Q, '^(.*)bull:[^:]+:$'), string.match(jobId, '^(.*)-(%d+)$')
  if not P or not id then return false end
  local isJson, data = pcall(cjson.decode, redis.call('HGET', Q .. jobId, 'data') or '')
  if not isJson or type(data) ~= 'table' or type(data.tenant) ~= 'string' then return false end
  local record = redis.call('HMGET', P .. 'job:' .. data.tenant .. ':' .. id, 'state', 'run')
  return (record[1] == 'queued' or record[1] == 'running') and record[2] == run
end

-- From active to wait, in moveToFinished's KEYS; false when the lock is not the token's, of which BullMQ knows more to say.
local function putBack(jobId, token)
  local lock = KEYS[12] .. ':lock'
  if redis.call('GET', lock) ~= token then return false end
  redis.call('DEL', lock)
  redis.call('SREM', KEYS[5], jobId)
  if redis.call('LREM', KEYS[2], -1, jobId) > 0 then
    redis.call('RPUSH', KEYS[1], jobId)
    redis.call('ZADD', KEYS[14], 0, '0')
  end
  return true
end
`;
