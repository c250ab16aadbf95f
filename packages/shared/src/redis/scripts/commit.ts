import { RECORD_FUNCTIONS } from './record-functions.ts';

/**
 * Writes how an attempt ended: a run that ended, with the prediction that drift is measured by, or one that goes back to
 * the queue. Needs RECORD_FUNCTIONS and `MAX_PREDICTIONS`. Nothing is written when the attempt may not commit.
 *
 * Arguments per job: tenant, id, run, attempt, state, results, error, origin's id, batch, timings, prediction; for one that
 * goes back without having been tried, when it was claimed in place of the results. Somewhere before them: how many
 * origins they name, then the id and JSON of each.
 */
export const COMMIT_FUNCTIONS = `
local COMMIT_STRIDE = 11

-- Writes the origins whose number stands at 'at'.
local function storeOrigins(ARGS, at)
  for i = at + 1, at + ARGS[at] * 2, 2 do redis.call('HSETNX', P .. 'origins', ARGS[i], ARGS[i + 1]) end
end

-- What the fence says of every job from 'first' on, and the records that it was asked of. Writes nothing.
local function askFence(ARGS, first, stride)
  local codes, records = {}, {}
  for at = first, #ARGS, stride do
    -- A record that cannot even be read belongs to nobody; it must not keep the others.
    local isRecord, record = pcall(readRun, ARGS[at], ARGS[at + 1])
    if not isRecord then record = {} end
    records[#records + 1] = record
    codes[#codes + 1] = mayCommit(record, ARGS[at + 2], ARGS[at + 3], ARGS[at + 4])
  end
  local models = {}
  for i, record in ipairs(records) do
    if codes[i] == 1 then models[record.model] = true end
  end
  for model in pairs(models) do assertRunKinds(model) end
  return codes, records
end

-- True, or it throws.
local function commitJob(ARGS, at, code, record)
  local tenant, id, state = ARGS[at], ARGS[at + 1], ARGS[at + 4]
  if code ~= 1 then return true end
  if state == 'queued' then
    redis.call('HSET', recordKey(tenant, id), 'state', 'queued')
    if ARGS[at + 5] ~= '' then undoStart(tenant, id, ARGS[at + 2], ARGS[at + 5]) end
    return true
  end
  endRun(tenant, id, record, {
    state = state, results = ARGS[at + 5], error = ARGS[at + 6], origin = ARGS[at + 7], batch = ARGS[at + 8],
    timings = ARGS[at + 9]})
  if ARGS[at + 10] ~= '' and MAX_PREDICTIONS > 0 then
    redis.call('XADD', P .. 'predictions:' .. record.model, 'MAXLEN', '~', MAX_PREDICTIONS, '*', 'prediction', ARGS[at + 10],
      'origin', ARGS[at + 7])
  end
  return true
end
`;

/**
 * Ends attempts of N jobs, together with all that must follow, so that no crash leaves one without the others.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 predictions kept per model; then the origins, and per job what
 *      COMMIT_FUNCTIONS say.
 * Returns per job 1 committed, 2 committed before (the reply was lost and the client sent it again), 0 fenced: the run
 * has ended, or a later attempt holds it.
 *
 * Redis rolls nothing back, so all that can refuse is asked before the first write; and the first write is a DEL, which a
 * full Redis allows: finishing a job is what frees its memory.
 */
export const COMMIT_LUA = `
local P, RETENTION_MS, MAX_PREDICTIONS = ARGV[1], ARGV[2], tonumber(ARGV[3])
${RECORD_FUNCTIONS}
${COMMIT_FUNCTIONS}
local FIRST = 5 + ARGV[4] * 2
local codes, records = askFence(ARGV, FIRST, COMMIT_STRIDE)
redis.call('DEL', KEYS[1])
storeOrigins(ARGV, 4)
for i, code in ipairs(codes) do commitJob(ARGV, FIRST + (i - 1) * COMMIT_STRIDE, code, records[i]) end
tell()
return codes
`;
