/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes, as Lua's signed integers. */
const ROUND_CONSTANTS = firstPrimes(64)
  .map((prime) => (Math.cbrt(prime) % 1) * 2 ** 32)
  .map((value) => Math.floor(value) | 0);

function firstPrimes(count: number): number[] {
  const primes: number[] = [];
  for (let candidate = 2; primes.length < count; candidate += 1) {
    if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate);
  }
  return primes;
}

/**
 * Writes lines of the audit log, as Lua functions: `appendAudit(audit, head, line, actor, maxLines)`. The line and what it
 * tells of are one script, so neither is without the other.
 *
 * A chain is a stream of `text` and `hash`, SHA-256 of the text, in which the hash of the line before stands; and a hash
 * with the `seq` and `hash` of the newest line, and `before_seq` and `before_hash` of the newest one that is kept no more. Redis' Lua
 * has SHA-1 alone, so SHA-256 (FIPS 180-4) is written out here: about a millisecond a line, for what people do.
 */
export const AUDIT_FUNCTIONS = `
local SHA_K = {${ROUND_CONSTANTS.join(', ')}}
local function sha256hex(text)
  local band, bxor, bnot, ror, rshift, tobit = bit.band, bit.bxor, bit.bnot, bit.ror, bit.rshift, bit.tobit
  local length = #text
  local tail = length * 8
  text = text .. string.char(128) .. string.rep(string.char(0), (55 - length) % 64) .. string.rep(string.char(0), 4)
    .. string.char(math.floor(tail / 16777216) % 256, math.floor(tail / 65536) % 256, math.floor(tail / 256) % 256, tail % 256)
  local h = {1779033703, -1150833019, 1013904242, -1521486534, 1359893119, -1694144372, 528734635, 1541459225}
  local w = {}
  for at = 1, #text, 64 do
    for i = 0, 15 do
      local a, b, c, d = string.byte(text, at + i * 4, at + i * 4 + 3)
      w[i + 1] = tobit(a * 16777216 + b * 65536 + c * 256 + d)
    end
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      w[i] = tobit(w[i - 16] + bxor(ror(x, 7), ror(x, 18), rshift(x, 3)) + w[i - 7] + bxor(ror(y, 17), ror(y, 19), rshift(y, 10)))
    end
    local a, b, c, d, e, f, g, k = unpack(h)
    for i = 1, 64 do
      local t1 = tobit(k + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + SHA_K[i] + w[i])
      local t2 = tobit(bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c)))
      a, b, c, d, e, f, g, k = tobit(t1 + t2), a, b, c, tobit(d + t1), e, f, g
    end
    for i, value in ipairs({a, b, c, d, e, f, g, k}) do h[i] = tobit(h[i] + value) end
  end
  for i = 1, 8 do h[i] = bit.tohex(h[i]) end
  return table.concat(h)
end

-- 'actor': JSON of request_id and, if there was one, key. What is beyond 'maxLines' goes, the oldest first.
local function appendAudit(audit, head, line, actor, maxLines)
  local time = redis.call('TIME')
  local last = redis.call('HMGET', head, 'seq', 'hash')
  line.seq = (tonumber(last[1]) or 0) + 1
  line.previous = last[2] or string.rep('0', 64)
  line.at_ms = math.floor(time[1] * 1000 + time[2] / 1000)
  for name, value in pairs(cjson.decode(actor)) do line[name] = value end
  local text = cjson.encode(line)
  local hash = sha256hex(text)
  redis.call('XADD', audit, '*', 'text', text, 'hash', hash)
  redis.call('HSET', head, 'seq', line.seq, 'hash', hash)
  -- One more than came, so that a limit that was lowered is reached at last.
  local excess = math.min(redis.call('XLEN', audit) - tonumber(maxLines), 2)
  if excess > 0 then
    for _, old in ipairs(redis.call('XRANGE', audit, '-', '+', 'COUNT', excess)) do
      if old[2][1] == 'text' then
        local isJson, was = pcall(cjson.decode, old[2][2])
        if isJson then redis.call('HSET', head, 'before_seq', was.seq, 'before_hash', old[2][4]) end
      end
      redis.call('XDEL', audit, old[1])
    end
  end
end
`;
