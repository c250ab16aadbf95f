import { createRequire } from 'node:module';

/**
 * BullMQ's own scripts, includes inlined, from the exactly pinned version: wrapped in functions they run inside scripts of
 * ours with all that they know of priorities, delays, limits and pauses. Not exported officially: hence the exact pin,
 * and proof.ts, which tries them before they are used.
 */
const require = createRequire(import.meta.url);

function bullFunction(name: string, file: string): string {
  const script = (require(`bullmq/dist/cjs/scripts/${file}.js`) as Record<string, { content: string } | undefined>)[
    name
  ];
  if (!script) throw new Error(`bullmq has no script ${name}: it is not the pinned version`);
  // Its KEYS and ARGV become parameters, which hide the globals; each has its own 200 locals.
  return `local function ${name}(KEYS, ARGV)\n${script.content}\nend\n`;
}

export const MOVE_STALLED_JOBS = bullFunction('moveStalledJobsToWait', 'moveStalledJobsToWait-9');

/**
 * A queue's jobs in BullMQ's hands. Needs `Q`, the queue's key prefix, `METRICS_MINUTES`, and the locals of
 * RECORD_FUNCTIONS: every time is Redis' own.
 */
export const QUEUE_FUNCTIONS = `
${bullFunction('moveToActive', 'moveToActive-11')}
${bullFunction('moveToFinished', 'moveToFinished-14')}
${bullFunction('moveToDelayed', 'moveToDelayed-11')}
local function queueKeys(...)
  local keys = {...}
  for i, name in ipairs(keys) do keys[i] = Q .. name end
  return keys
end
local ACTIVE_KEYS = queueKeys('wait', 'active', 'prioritized', 'events', 'stalled', 'limiter', 'delayed', 'paused', 'meta',
  'pc', 'marker')
local FINISHED_KEYS = queueKeys('wait', 'active', 'prioritized', 'events', 'stalled', 'limiter', 'delayed', 'paused', 'meta',
  'pc', 'completed', 'job', 'metrics:completed', 'marker')
local DELAYED_KEYS = queueKeys('marker', 'active', 'prioritized', 'delayed', 'job', 'events', 'meta', 'stalled', 'wait',
  'limiter', 'pc')

-- The next job, locked by 'token': {its hash, its id}; or {0, 0, ms that the queue is limited, when the next delayed one is due}.
local function takeQueueJob(options) return moveToActive(ACTIVE_KEYS, {Q, NOW_MS, options}) end

-- Takes a job out of the queue for good. A job whose lock is not the token's is left alone.
local function finishQueueJob(jobId, token)
  FINISHED_KEYS[12] = Q .. jobId
  moveToFinished(FINISHED_KEYS, {jobId, NOW_MS, 'returnvalue', 'null', 'completed', '0', Q,
    cmsgpack.pack({token = token, keepJobs = {count = 0}, attempts = 1, maxMetricsSize = METRICS_MINUTES > 0 and METRICS_MINUTES or ''}), ''})
end

-- Puts a job back, for 'delayMs'. A job whose lock is not the token's is left alone.
local function delayQueueJob(jobId, token, delayMs, spendsAttempt)
  DELAYED_KEYS[5] = Q .. jobId
  moveToDelayed(DELAYED_KEYS, {Q, NOW_MS, jobId, token, delayMs, spendsAttempt == '1' and '0' or '1', '', '0', ''})
end
`;
