/** Of the answers that one job gets from the cache, in bytes: they stay in its record. Rows beyond it are computed. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** Keys of one HMGET; Lua passes no more than some thousands of arguments. */
const KEYS_PER_READ = 500;

/**
 * Reads what is kept of rows, as Lua functions. Needs RECORD_FUNCTIONS. redis-result-cache.ts writes it: in the hash of a
 * version, under a row's key, `<written ms>;<until ms>;<origin>;<batch size>;<worker> <output as JSON>`; `!` in the place of the origin
 * says that the row is bad, and what follows is its error. Entries for fallbacks alone begin with `<written ms> `, and are not
 * given again. `#` names the source of all.
 */
export const CACHED_ROWS = `
-- Results by place in 'keys', as JSON; the errors among them; what made the first answer.
local function cachedRows(model, version, source, keys, withErrors)
  local found = {results = {}, errors = {}, count = 0}
  local hash, bytes = P .. 'cached:' .. model .. ':' .. version, 0
  if redis.pcall('HGET', hash, '#') ~= source then return found end
  for from = 1, #keys, ${KEYS_PER_READ} do
    local entries = redis.call('HMGET', hash, unpack(keys, from, math.min(#keys, from + ${KEYS_PER_READ} - 1)))
    for i, entry in ipairs(entries) do
      local head, body = string.match(entry or '', '^(%S+) (.*)$')
      local written, untilMs, origin, size, worker = string.match(head or '', '^(%d+);(%d+);([^;]*);(%d*);(.*)$')
      if untilMs and tonumber(untilMs) > NOW_MS and bytes + #body <= ${MAX_ANSWER_BYTES} then
        local at, result = from + i - 1, nil
        if origin ~= '!' then
          result = '{"status":"succeeded","output":' .. body .. ',"cached":true,"age_s":' ..
            string.format('%.3f', math.max(0, NOW_MS - written) / 1000) .. '}'
          found.origin = found.origin or origin
          found.batch = found.batch or '{"batch_size":' .. size .. ',"batches":0,"worker":' .. cjson.encode(worker) .. '}'
        elseif withErrors then
          result = '{"status":"failed","error":' .. body .. '}'
          found.errors[at] = body
        end
        if result then
          found.results[at] = result
          found.count = found.count + 1
          bytes = bytes + #body
        end
      end
    end
  end
  return found
end

-- What is found of so many rows, for a record's 'kept'.
local function keptRows(found, rows)
  local results = {}
  for i = 1, rows do results[i] = found.results[i] or '{"status":"failed","error":{"code":"canceled","detail":""}}' end
  return '{"run":1,"results":[' .. table.concat(results, ',') .. ']}'
end

-- Ends a run all of whose rows are found.
local function endAnswered(tenant, id, record, found, stopsAtErrors)
  local state, failure = 'succeeded', nil
  for row = 1, #found.results do
    if found.errors[row] and stopsAtErrors and not failure then
      local cause = cjson.decode(found.errors[row])
      state, failure = 'failed', cjson.encode({code = cause.code, row = row - 1,
        detail = 'Row ' .. (row - 1) .. ' of ' .. #found.results .. ' failed: ' .. cause.detail})
    end
  end
  endRun(tenant, id, record, {
    state = state, results = '[' .. table.concat(found.results, ',') .. ']', error = failure, origin = found.origin,
    batch = found.batch, timings = '{"batch_wait_ms":0,"preprocess_ms":0,"inference_ms":0,"postprocess_ms":0}'})
  -- How fast a backlog drains is told by what workers do.
  count(record.model, {finished_jobs = -1, finished_rows = -record.rows, ['finished_jobs:' .. record.lane] = -1})
end
`;
