import { AUDIT_FUNCTIONS } from './audit-functions.ts';

/** All keys are those of the first partition. Times are Redis'. */
const NOW = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
`;

/**
 * Puts one state of an endpoint in place of another, with its secrets and what has to be told of it.
 *
 * KEYS 1 endpoints, 2 secrets, 3 tenants, 4 outbox, 5 failing, 6 audit log, 7 its head. ARGV 1 tenant, 2 id, 3 the state that it has, '' for none, 4 the
 * one that it gets, '' for none, 5 endpoints that a tenant may have, 6 a new secret's id or '', 7 the secret, sealed, 8 ids of
 * secrets that go, separated by blanks, 9 an event or '', 10 '1': it has failed nothing yet, 11 line of the audit log, 12 who did
 * it, 13 lines that are kept.
 * Returns 1; 0 when its state is another, -1 when there are too many.
 */
export const CHANGE_ENDPOINT_LUA = `
${AUDIT_FUNCTIONS}
if (redis.call('HGET', KEYS[1], ARGV[2]) or '') ~= ARGV[3] then return 0 end
if ARGV[3] == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return -1 end
for key, kind in pairs({[KEYS[2]] = 'hash', [KEYS[3]] = 'set', [KEYS[4]] = 'stream', [KEYS[5]] = 'hash', [KEYS[6]] = 'stream',
  [KEYS[7]] = 'hash'}) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then error('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. kind) end
end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[2], ARGV[6], ARGV[7]) end
for id in string.gmatch(ARGV[8], '%S+') do redis.call('HDEL', KEYS[2], id) end
if ARGV[4] == '' then
  -- Its tenant is known until its subscriptions are gone as well.
  redis.call('HDEL', KEYS[1], ARGV[2])
else
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
  redis.call('SADD', KEYS[3], ARGV[1])
end
if ARGV[4] == '' or ARGV[10] == '1' then redis.call('HDEL', KEYS[5], ARGV[2]) end
if ARGV[9] ~= '' then redis.call('XADD', KEYS[4], '*', 'event', ARGV[9]) end
appendAudit(KEYS[6], KEYS[7], cjson.decode(ARGV[11]), ARGV[12], ARGV[13])
return 1
`;

/** KEYS 1 endpoints. ARGV 1 id. Returns {its state or false, now ms}. */
export const READ_ENDPOINT_LUA = `${NOW}
return {redis.call('HGET', KEYS[1], ARGV[1]), now}
`;

/** KEYS 1 endpoints. Returns {their states, now ms}. */
export const LIST_ENDPOINTS_LUA = `${NOW}
return {redis.call('HVALS', KEYS[1]), now}
`;

/** KEYS 1 failing, 2 endpoints. ARGV 1 id. Returns for how long it has failed, ms. */
export const FAILING_LUA = `${NOW}
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('HSETNX', KEYS[1], ARGV[1], now)
return now - redis.call('HGET', KEYS[1], ARGV[1])
`;
