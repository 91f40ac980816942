#!lua flags=allow-oom
-- Every lane: what is due and since when, what is claimed, bells that wait, workers that listen.
-- ARGV: ms after which a silent worker counts as gone, the start of the bell queues' names
-- Answers a list of {voice, interactive due, bulk due, waiting ms, claimed, bells, workers}.

local now, rows = now_ms(), {}

local TENANTS_LOOKED_AT = 20 -- the next in turn; enough to say how long work waits

local function class_state(voice, class)
  local depth = tonumber(redis.call("GET", lane_key(voice, class, "depth")) or 0)
  local since = now
  local next_tenants = redis.call("LRANGE", lane_key(voice, class, "ring"), 0,
    TENANTS_LOOKED_AT - 1)
  for _, tenant in ipairs(next_tenants) do
    local due = lane_key(voice, class, "due:" .. tenant)
    local head = redis.call("ZRANGE", due, 0, 0)[1]
    local id, unit = string.match(head or "", "^(.*)|(.*)$")
    local u = id and load_unit(id, unit)
    if u and u.d and u.d < since then since = u.d end
  end
  return depth, now - since
end

for _, voice in ipairs(redis.call("SMEMBERS", P .. "lanes")) do
  local interactive, interactive_ms = class_state(voice, "interactive")
  local bulk, bulk_ms = class_state(voice, "bulk")
  rows[#rows + 1] = {voice, interactive, bulk, math.max(interactive_ms, bulk_ms),
    redis.call("ZCARD", leases_key(voice)), redis.call("LLEN", ARGV[2] .. voice),
    redis.call("ZCOUNT", P .. "lane:" .. voice .. ":workers", now - tonumber(ARGV[1]), "+inf")}
end
return rows
