import { AUDIT_FUNCTIONS } from './audit-functions.ts';

/**
 * What workers say about their models. Times are Redis': a worker's clock may be wrong. All keys are the fleet's, so they share a
 * slot.
 */

const NOW = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
`;

/**
 * What endpoints are told of models, in one step with what changes about them. For scripts with a ready set as KEYS[1], an outbox as
 * KEYS[7], and subscriptions as KEYS[8]. A beat is not held up by keys of another kind.
 */
const MODEL_EVENTS = `
local wanted = redis.pcall('HVALS', KEYS[8])
wanted = wanted.err and '' or ' ' .. table.concat(wanted, ' ') .. ' '
local isAnyWanted = string.find(wanted, ' model.', 1, true) ~= nil
local function tellModel(type, version, data)
  if not string.find(wanted, ' ' .. type .. ' ', 1, true) then return end
  local name
  name, data.version = string.match(version, '^(.*)/([^/]*)$')
  data.object, data.model = 'model_version', name
  redis.pcall('XADD', KEYS[7], '*', 'event', cjson.encode({
    schema_version = 3, id = 'evt_' .. string.sub(redis.sha1hex(type .. version .. string.format('%.0f', now)), 1, 32),
    type = type, tenant = '*', occurred_at_ms = now, model = name, data = data}))
end
local function readyVersions()
  local versions = {}
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do versions[string.match(member, '^(.*)@')] = true end
  return versions
end
local function stateBefore(states, member)
  for i = 1, #states, 2 do
    if states[i] == member then
      local isReport, report = pcall(cjson.decode, string.match(states[i + 1], '{.*$') or '')
      return isReport and report.state
    end
  end
end
`;

/**
 * KEYS 1 ready, 2 circuits, 3 states, 4 models, 5 orders, 6 retired, 7 outbox, 8 subscriptions. ARGV 1 ttl ms, 2 worker, 3 how many versions, then per version
 * `<name>/<version>`, '1' when it is ready, the state of its circuit, and ms until that tries the model again; then per report
 * `<name>/<version>`, '1' when jobs are taken for it, ms since when, and the rest as JSON.
 * Returns {orders, offered versions that are not published, retired versions}.
 *
 * The ready set stands apart from the circuits, and both from the states, since processes of previous versions read them.
 */
export const BEAT_LUA = `${NOW}${MODEL_EVENTS}
local readyBefore = isAnyWanted and readyVersions()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local mine = '@' .. ARGV[2]
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(member, -#mine) == mine then redis.call('ZREM', KEYS[1], member) end
end
local circuits = redis.call('HGETALL', KEYS[2])
for i = 1, #circuits, 2 do
  local isOver = tonumber(string.match(circuits[i + 1], '%d+$')) <= now
  if isOver or string.sub(circuits[i], -#mine) == mine then redis.call('HDEL', KEYS[2], circuits[i]) end
end
local states = redis.call('HGETALL', KEYS[3])
for i = 1, #states, 2 do
  local isOver = tonumber(string.match(states[i + 1], '^%d+')) <= now
  if isOver or string.sub(states[i], -#mine) == mine then redis.call('HDEL', KEYS[3], states[i]) end
end
local reportsAt = 4 + 4 * ARGV[3]
for i = 4, reportsAt - 1, 4 do
  if ARGV[i + 1] == '1' then redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i] .. mine) end
  redis.call('HSET', KEYS[2], ARGV[i] .. mine,
    string.format('%s %.0f %.0f', ARGV[i + 2], now + ARGV[i + 3], now + ARGV[1]))
end
local unpublished = {}
for i = reportsAt, #ARGV, 4 do
  local report = isAnyWanted and cjson.decode(ARGV[i + 3])
  if report and report.state == 'failed' and stateBefore(states, ARGV[i] .. mine) ~= 'failed' then
    tellModel('model.failed', ARGV[i], {worker = ARGV[2], reason = report.reason or cjson.null})
  end
  redis.call('HSET', KEYS[3], ARGV[i] .. mine,
    string.format('%.0f %s %.0f %s', now + ARGV[1], ARGV[i + 1], now - ARGV[i + 2], ARGV[i + 3]))
  if ARGV[i + 1] == '1' and redis.call('HEXISTS', KEYS[4], ARGV[i]) == 0 then table.insert(unpublished, ARGV[i]) end
end
if isAnyWanted then
  local readyAfter = readyVersions()
  for version in pairs(readyAfter) do
    if not readyBefore[version] then tellModel('model.ready', version, {}) end
  end
  for version in pairs(readyBefore) do
    if not readyAfter[version] then tellModel('model.unloaded', version, {}) end
  end
end
return {redis.call('HGETALL', KEYS[5]), unpublished, redis.call('HGETALL', KEYS[6])}
`;

/** KEYS 1 models, 2 retired. ARGV 1 `<name>/<version>`, 2 descriptor. */
export const PUBLISH_LUA = `
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[1])
`;

/**
 * KEYS 1 models, 2 retired, 3 states, 4 orders, 5 ready. ARGV 1 `<name>/<version>`, 2 worker, 3 cause, 4 reason, 5 for how long it is remembered,
 * ms. Returns whether it came to that: 0 while another worker takes jobs for it.
 */
export const RETIRE_LUA = `${NOW}
local states = redis.call('HGETALL', KEYS[3])
local prefix = ARGV[1] .. '@'
for i = 1, #states, 2 do
  if string.sub(states[i], 1, #prefix) == prefix and states[i] ~= prefix .. ARGV[2] then
    local untilMs, isOffered = string.match(states[i + 1], '^(%d+) (%d)')
    if isOffered == '1' and tonumber(untilMs) > now then return 0 end
  end
end
-- A worker of the previous version says no more than that it is ready.
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], now, '+inf')) do
  local isOther = string.sub(member, 1, #prefix) == prefix and member ~= prefix .. ARGV[2]
  if isOther and redis.call('HEXISTS', KEYS[3], member) == 0 then return 0 end
end
redis.call('HDEL', KEYS[1], ARGV[1])
if ARGV[3] == 'removed' then redis.call('HDEL', KEYS[4], ARGV[1]) end
local retired = redis.call('HGETALL', KEYS[2])
for i = 1, #retired, 2 do
  if cjson.decode(retired[i + 1]).at_ms < now - ARGV[5] then redis.call('HDEL', KEYS[2], retired[i]) end
end
redis.call('HSET', KEYS[2], ARGV[1], cjson.encode({cause = ARGV[3], reason = ARGV[4], at_ms = now}))
return 1
`;

/**
 * KEYS 1 orders, 2 audit log, 3 its head. ARGV 1 model, 2 version or '', 3 what is wanted, 4 line of the audit log, 5 actor, 6 lines that are
 * kept. Returns when, ms.
 */
export const ORDER_LUA = `${NOW}
${AUDIT_FUNCTIONS}
local subject = ARGV[1]
if ARGV[2] ~= '' then
  subject = subject .. '/' .. ARGV[2]
else
  for _, other in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(other, 1, #subject + 1) == subject .. '/' then redis.call('HDEL', KEYS[1], other) end
  end
end
redis.call('HSET', KEYS[1], subject, cjson.encode({want = ARGV[3], at_ms = now}))
appendAudit(KEYS[2], KEYS[3], cjson.decode(ARGV[4]), ARGV[5], ARGV[6])
return now
`;

/** KEYS 1 models, 2 ready, 3 circuits. Returns {descriptors, members that are ready now, circuits, now ms}. */
export const LIST_LUA = `${NOW}
return {redis.call('HVALS', KEYS[1]), redis.call('ZRANGEBYSCORE', KEYS[2], now, '+inf'), redis.call('HGETALL', KEYS[3]), now}
`;

/** KEYS 1 models, 2 ready, 3 states, 4 orders, 5 retired. Returns them whole, of the ready ones the members, and now ms. */
export const FLEET_LUA = `${NOW}
return {redis.call('HGETALL', KEYS[1]), redis.call('ZRANGEBYSCORE', KEYS[2], now, '+inf'), redis.call('HGETALL', KEYS[3]),
  redis.call('HGETALL', KEYS[4]), redis.call('HGETALL', KEYS[5]), now}
`;
