import { COMMIT_FUNCTIONS, RECORD_FUNCTIONS, SHARE_FUNCTIONS } from '@onqueue/shared/redis';
import { QUEUE_FUNCTIONS } from './bull-functions.ts';
import { PLAIN_JOB_FUNCTIONS } from './plain-jobs.ts';

/** How long the answer of a slot's last swap is kept; after a longer outage the locks have run out anyway. */
const ANSWER_TTL_MS = 600_000;
/** Queue jobs beyond the wanted ones that one swap may look at and find over (canceled, expired). */
const MAX_OVER = 64;
/** Claiming stops beyond this many bytes of inputs: the rest comes with the next swap. */
const MAX_INPUT_BYTES = 4 * 1024 * 1024;

/**
 * Ends N attempts and claims up to M jobs of one queue, in our records and in BullMQ alike, and feeds it: all that a worker has to say
 * to Redis about its jobs. README.md says what happens at each crash point.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 predictions kept per model, 4 prefix of the queue's keys, 5 slot,
 *      6 number of the swap, 7 lock token for what is claimed, 8 lock ms, 9 how many to claim, 10 minutes of BullMQ's
 *      metrics, 11 how many jobs suit the wait list; then the origins, and per ended job what COMMIT_FUNCTIONS say, its lock token, the delay in ms ('' when the run has ended), '1' when that spends an attempt.
 * Returns {codes, jobs, more, limited ms, ms to the next delayed job or -1, faults}:
 *      codes per ended job as COMMIT_LUA; jobs {queue job's id, tenant, attempts made, stalls, options, …what claimRun
 *      returns};
 *      more 1 when it stopped before the queue was empty; faults what went wrong with single jobs, for the log.
 *
 * Swaps of a slot are numbered. A repeat of the last number changes nothing and gets the same answer, less the jobs that
 * another attempt or an end has taken away since: so a lost reply strands no job.
 *
 * Redis rolls nothing back, so all that can refuse is asked before the first write; and the first write is a DEL, which a
 * full Redis allows. What BullMQ's code may throw is caught, job by job.
 */
export const SWAP_LUA = `
local P, RETENTION_MS, MAX_PREDICTIONS, Q = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local ANSWER, NUMBER, TOKEN, LOCK_MS, WANTED, METRICS_MINUTES = P .. 'swap:' .. ARGV[5], tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local FEED_LIMIT = tonumber(ARGV[11])
${RECORD_FUNCTIONS}
${SHARE_FUNCTIONS}
${COMMIT_FUNCTIONS}
${QUEUE_FUNCTIONS}
${PLAIN_JOB_FUNCTIONS}
local FIRST, STRIDE = 13 + ARGV[12] * 2, COMMIT_STRIDE + 3
local faults = {}

local function guarded(jobId, action, ...)
  local isFine, value = pcall(action, ...)
  if isFine then return value end
  faults[#faults + 1] = jobId .. ': ' .. (type(value) == 'table' and value.err or tostring(value))
  return nil
end

local function fieldsOf(hash)
  local fields = {}
  for i = 1, #hash, 2 do fields[hash[i]] = hash[i + 1] end
  return fields
end

local tenants = {}
local function tenantOf(data)
  local text = data or ''
  if not tenants[text] then
    local isJson, value = pcall(cjson.decode, text)
    tenants[text] = isJson and type(value) == 'table' and value.tenant or ''
  end
  return tenants[text]
end

local function isOver(tenant, id, run)
  local record = redis.call('HMGET', recordKey(tenant, id), 'state', 'run')
  return not isActive(record[1]) or record[2] ~= run
end

local function replay(held)
  local jobs = {}
  for _, item in ipairs(held) do
    local jobId, attempt, claimedUs = item[1], item[2], item[3]
    local fields = fieldsOf(redis.call('HGETALL', Q .. jobId))
    local tenant, id = tenantOf(fields.data), string.match(jobId, '^(.*)%-%d+$')
    local record = redis.call('HMGET', recordKey(tenant, id), 'state', 'attempt', 'inputs', 'request', 'model', 'version',
      'lane', 'queued_us', 'schema_version', 'kept')
    if record[1] == 'running' and tonumber(record[2]) == attempt and redis.call('GET', Q .. jobId .. ':lock') == TOKEN then
      jobs[#jobs + 1] = {jobId, tenant, fields.atm or '0', fields.stc or '0', fields.opts or '{}', attempt, record[3], record[4],
        record[5], record[6], record[7], record[8], claimedUs, record[9] or '1', record[10] or ''}
    end
  end
  return jobs
end

local answer = redis.call('GET', ANSWER)
if answer then
  local number, codes, held = unpack(cmsgpack.unpack(answer))
  if number == NUMBER then return {codes, replay(held), 1, 0, -1, {}} end
  if number > NUMBER then return redis.error_reply('STALESWAP number ' .. NUMBER .. ' comes after ' .. number) end
end

local codes, records = askFence(ARGV, FIRST, STRIDE)
redis.call('DEL', KEYS[1])
storeOrigins(ARGV, 12)

local over = {}
for i, code in ipairs(codes) do
  local at = FIRST + (i - 1) * STRIDE
  local tenant, id, run = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local jobId, token, delayMs = id .. '-' .. run, ARGV[at + COMMIT_STRIDE], ARGV[at + COMMIT_STRIDE + 1]
  -- What could not be written whole is not told as committed, and its job stays in the queue.
  local isWritten = guarded(jobId, commitJob, ARGV, at, code, records[i])
  if not isWritten then
    codes[i] = 0
  elseif code ~= 0 and delayMs ~= '' then
    guarded(jobId, delayQueueJob, jobId, token, delayMs, ARGV[at + COMMIT_STRIDE + 2])
  elseif code ~= 0 or isOver(tenant, id, run) then
    over[#over + 1] = {id = jobId, token = token}
  end
  -- Else a later attempt holds the job, and BullMQ's job with it.
end
local function finishOne(jobId, token) guarded(jobId, finishQueueJob, jobId, token) end
finishPlainJobs(over, finishOne)

over = {}
local jobs, held, bytes, looks, more, limitedMs, delayedMs = {}, {}, 0, 0, 0, 0, -1

-- Claims the run that a queue's job is about. A queue job that is none of ours has no record: over, like one whose run has
-- ended.
local function takeUp(jobId, data, options, attemptsMade, stalls)
  looks = looks + 1
  local tenant, id, run = tenantOf(data), string.match(jobId, '^(.*)-(%d+)$')
  local claim = {}
  if id then claim = guarded(jobId, claimRun, tenant, id, run) end
  if claim and #claim > 0 then
    bytes = bytes + #claim[2]
    jobs[#jobs + 1] = {jobId, tenant, attemptsMade or '0', stalls or '0', options or '{}', unpack(claim)}
    held[#held + 1] = {jobId, claim[1], claim[8]}
  elseif claim then
    over[#over + 1] = {id = jobId, token = TOKEN}
  end
end

local QUEUE = string.sub(Q, #P + 6, -2)
local MODEL, LANE = string.match(QUEUE, '^(.*)%.([^.]*)$')
guarded('feed limit', setFeedLimit, MODEL, LANE, FEED_LIMIT)
if guarded('feed', feedQueue, QUEUE, FEED_LIMIT, WANTED) then more = 1 end

local ids, isAll = popPlainIds(WANTED)
local rest = #ids + 1
for i, jobId in ipairs(ids) do
  if bytes > ${MAX_INPUT_BYTES} then
    rest = i
    break
  end
  local fields = guarded(jobId, lockPlainJob, jobId)
  if fields then takeUp(jobId, fields[1], fields[2], fields[3], fields[4]) end
end
placePlainIds(ids, rest)
finishPlainJobs(over, finishOne)

isAll = isAll and rest > #ids
-- The marker says that there is something to claim: left here, it would wake the next one in vain.
if isAll then redis.call('ZREM', MARKER, '0') end

-- What is left to BullMQ: which job is next, or why there is none.
local options = cmsgpack.pack({token = TOKEN, lockDuration = LOCK_MS})
while not isAll and #jobs < WANTED do
  if looks >= WANTED + ${MAX_OVER} or bytes > ${MAX_INPUT_BYTES} then
    more = 1
    break
  end
  local reply = guarded('claim', takeQueueJob, options)
  if not reply then break end
  if reply[1] == 0 then
    limitedMs = math.ceil(reply[3])
    if reply[4] > 0 then delayedMs = math.max(1, math.ceil(reply[4] - NOW_MS)) end
    if limitedMs == 0 then redis.call('ZREM', MARKER, '0') end
    break
  end
  local fields = fieldsOf(reply[1])
  over = {}
  takeUp(reply[2], fields.data, fields.opts, fields.atm, fields.stc)
  -- At once: what is over must not count against the queue's concurrency.
  finishPlainJobs(over, finishOne)
end
-- Who claims nothing (it drains, or waits for the rate limit) tells others that there may be room and work.
if WANTED == 0 and redis.call('LLEN', WAIT) > 0 then redis.call('ZADD', MARKER, 0, '0') end
tell()
if #codes + #held > 0 then
  redis.call('SET', ANSWER, cmsgpack.pack({NUMBER, codes, held}), 'PX', ${ANSWER_TTL_MS})
end
return {codes, jobs, more, limitedMs, delayedMs, faults}
`;
