import { RECORD_FUNCTIONS } from './record-functions.ts';

/**
 * Keeps how far a run has come, and tells those who want to know. Fenced like a commit. It is none: in a full Redis it is
 * refused, so that what memory there is goes to ends.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 tenant, 4 id, 5 run, 6 attempt, 7 rows done, 8 rows in all, 9 ms between two.
 * Returns 1; 0 when the attempt does not hold the run, or it is too soon.
 */
export const PROGRESS_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
local tenant, id, run = ARGV[3], ARGV[4], ARGV[5]
local record = readRun(tenant, id)
if record.state ~= 'running' or mayCommit(record, run, ARGV[6], 'running') == 0 then return 0 end
local key = recordKey(tenant, id)
local isTold, last = pcall(cjson.decode, redis.call('HGET', key, 'progress') or '')
if not isTold or last.run ~= tonumber(run) then last = {sequence = 0, at_ms = 0} end
if NOW_MS - last.at_ms < tonumber(ARGV[9]) then return 0 end
assertKinds({[OUTBOX] = 'stream'})
local sequence = last.sequence + 1
local rows = {done = tonumber(ARGV[7]), total = tonumber(ARGV[8])}
redis.call('HSET', key, 'progress', cjson.encode({run = tonumber(run), sequence = sequence, at_ms = NOW_MS, rows = rows}))
tellEvent(tenant, id, run, record, 'job.progress', {sequence = sequence, progress = {rows = rows}})
-- Those who follow the job look at it.
ended[#ended + 1] = id
tell()
return 1
`;
