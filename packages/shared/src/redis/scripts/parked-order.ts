/**
 * The order of a tenant's parked jobs, as Lua functions: by priority, then by arrival, in one score. A job of priority 0 has its
 * arrival as its score, Unix microseconds; each step up is a step of 10^15 down, which is 31 years. So a score says both, from
 * 2025 to 2055, and is exact as a double for ten steps.
 */
export const PARKED_ORDER = `
local PRIORITY_STEP, FIRST_ARRIVAL = 1e15, 1.735e15
local function parkedScore(us, priority) return us - priority * PRIORITY_STEP end
local function priorityOf(score) return -math.floor((score - FIRST_ARRIVAL) / PRIORITY_STEP) end
local function arrivalOf(score) return score + priorityOf(score) * PRIORITY_STEP end
-- The scores of a priority: from, and up to but not.
local function scoresOf(priority)
  local from = parkedScore(FIRST_ARRIVAL, priority)
  return string.format('%.0f', from), '(' .. string.format('%.0f', from + PRIORITY_STEP)
end

-- When the one arrived that has waited longest, or nil: the first of one of the priorities.
local function oldestParkedUs(parked)
  local from, oldest = '-inf', nil
  while true do
    local score = tonumber(redis.call('ZRANGEBYSCORE', parked, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
    if not score then return oldest end
    oldest = math.min(oldest or math.huge, arrivalOf(score))
    from = scoresOf(priorityOf(score) - 1)
  end
end
`;
