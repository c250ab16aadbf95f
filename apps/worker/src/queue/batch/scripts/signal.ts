/**
 * Puts signs where waiting workers see them.
 *
 * KEYS 1 scratch. ARGV 1 ms after which the signs go, or '' for never; then per sign: key, score, member.
 *
 * It starts with a DEL, which a full Redis allows: a drain must not wait for a timeout.
 */
export const SIGNAL_LUA = `
redis.call('DEL', KEYS[1])
for at = 2, #ARGV, 3 do
  redis.call('ZADD', ARGV[at], ARGV[at + 1], ARGV[at + 2])
  if ARGV[1] ~= '' then redis.call('PEXPIRE', ARGV[at], ARGV[1]) end
end
return 1
`;
