import { AUDIT_FUNCTIONS } from './audit-functions.ts';

/** All keys are those of the fleet. Times are Redis'. */
const NOW = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
`;

/** KEYS 1 API keys, 2 their last uses, 3 tenants. ARGV 1 a key's id. Returns {key or false, last use or false, tenant or false, tenant's id, now ms}. */
export const FIND_KEY_LUA = `${NOW}
local text = redis.call('HGET', KEYS[1], ARGV[1])
if not text then return {false, false, false, '', now} end
local tenant = cjson.decode(text).tenant
return {text, redis.call('HGET', KEYS[2], ARGV[1]), redis.call('HGET', KEYS[3], tenant), tenant, now}
`;

/** KEYS 1 a hash. ARGV 1 field. Returns {value or false, now ms}. */
export const READ_ENTRY_LUA = `${NOW}
return {redis.call('HGET', KEYS[1], ARGV[1]), now}
`;

/** KEYS 1 last uses. ARGV 1 a key's id. The later of two that differ counts. */
export const NOTE_USE_LUA = `${NOW}
if now > (tonumber(redis.call('HGET', KEYS[1], ARGV[1])) or 0) then redis.call('HSET', KEYS[1], ARGV[1], now) end
return 1
`;

/**
 * Puts one state of a key in place of another.
 *
 * KEYS 1 API keys, 2 their last uses, 3 tenants, 4 audit log, 5 its head. ARGV 1 id, 2 the state that it has, '' for none, 3 the one that it
 * gets, 4 keys that there may be, 5 its tenant, 6 the default tenant, 7 '1': only as the first of all, 8 line of the audit log, 9 actor,
 * 10 lines that are kept.
 * Returns 1; 0 when its state is another, -1 when there are too many, -2 when the tenant is gone, -3 when it is not the first.
 *
 * Keys that are revoked or over make room for new ones.
 */
export const CHANGE_KEY_LUA = `${NOW}
${AUDIT_FUNCTIONS}
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[2] == '' then
  if ARGV[7] == '1' and redis.call('HLEN', KEYS[1]) > 0 then return -3 end
  if ARGV[5] ~= ARGV[6] and redis.call('HEXISTS', KEYS[3], ARGV[5]) == 0 then return -2 end
  local spent = {}
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then
    local all = redis.call('HGETALL', KEYS[1])
    for i = 1, #all, 2 do
      local key = cjson.decode(all[i + 1])
      if key.revoked_ms or key.expires_ms and key.expires_ms <= now then spent[#spent + 1] = all[i] end
    end
    if #spent == 0 then return -1 end
    redis.call('HDEL', KEYS[1], unpack(spent, 1, math.min(#spent, 1000)))
    redis.call('HDEL', KEYS[2], unpack(spent, 1, math.min(#spent, 1000)))
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
appendAudit(KEYS[4], KEYS[5], cjson.decode(ARGV[8]), ARGV[9], ARGV[10])
return 1
`;

/**
 * Puts one state of a tenant in place of another.
 *
 * KEYS 1 tenants, 2 API keys, 3 audit log, 4 its head. ARGV 1 id, 2 the state that it has, '' for none, 3 the one that it gets, '' for none,
 * 4 tenants that there may be, 5 line of the audit log, 6 actor, 7 lines that are kept.
 * Returns 1; 0 when its state is another, -1 when there are too many, -2 when keys of it can be used.
 */
export const CHANGE_TENANT_LUA = `${NOW}
${AUDIT_FUNCTIONS}
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[2] == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return -1 end
if ARGV[3] == '' then
  for _, text in ipairs(redis.call('HVALS', KEYS[2])) do
    local key = cjson.decode(text)
    if key.tenant == ARGV[1] and not key.revoked_ms and not (key.expires_ms and key.expires_ms <= now) then return -2 end
  end
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
appendAudit(KEYS[3], KEYS[4], cjson.decode(ARGV[5]), ARGV[6], ARGV[7])
return 1
`;

/** KEYS 1 audit log, 2 its head. ARGV 1 from, 2 lines at most. Returns {lines, the head's fields}. */
export const AUDIT_PAGE_LUA = `
return {redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2]),
  redis.call('HMGET', KEYS[2], 'seq', 'hash', 'before_seq', 'before_hash')}
`;
