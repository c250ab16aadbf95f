/**
 * Takes ids off a list whose records are gone: one step of a walk, from the oldest to the newest.
 *
 * KEYS 1 list, 2 models of the tenant. ARGV 1 how its records' keys begin, 2 where the walk is, as ZRANGEBYLEX wants it, 3 where it ends,
 *      4 how many to look at, 5 model.
 * Returns the last id that was looked at, or '' when nothing is left.
 */
export const PRUNE_LUA = `
local ids = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local gone = {}
for _, id in ipairs(ids) do
  if redis.call('EXISTS', ARGV[1] .. id) == 0 then gone[#gone + 1] = id end
end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[5]) end
return #ids == tonumber(ARGV[4]) and ids[#ids] or ''
`;
