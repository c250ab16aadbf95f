import { RECORD_FUNCTIONS } from './record-functions.ts';
import { SHARE_FUNCTIONS } from './share-functions.ts';

/**
 * Takes N jobs for attempts of their own, and fills the wait lists that they came from.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms; then per job: tenant, id, and the run that the queue's job is about.
 * Returns per job {attempt, inputs, request, model, version, lane, queued µs, now µs}, or {} when the run is over.
 *
 * It starts with a DEL, which a full Redis allows (a script that has written may go on): work must drain.
 */
export const CLAIM_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
${SHARE_FUNCTIONS}
redis.call('DEL', KEYS[1])
local claims = {}
for at = 3, #ARGV, 3 do claims[#claims + 1] = claimRun(ARGV[at], ARGV[at + 1], ARGV[at + 2]) end
local fed = {}
for _, claim in ipairs(claims) do
  local model, lane = claim[4], claim[6]
  local queue = model and queueOf(model, lane)
  if queue and not fed[queue] then
    fed[queue] = true
    feedQueue(queue, feedLimitOf(model, lane), 0)
  end
end
tell()
return claims
`;
