#!lua flags=allow-oom
-- The delivery due longest is claimed: a new attempt, its fencing number, under a lease. Those whose
-- receiver or tenant is at its limit step aside until there is room.
-- Repeating a call with the same nonce answers the same delivery, so a call that timed out is safe.
-- Keys: lib/outbox.lua
-- ARGV: lease ms, most at once to one receiver, most at once of one tenant, how many due ones to look
--       at, nonce
-- Answers the record's fields, or nothing when none is due.

local ANSWERED_MS = 60000 -- longer than a client repeats a call
local now, due, answered = now_ms(), outbox_key("due"), outbox_key("answered", ARGV[5])

-- What this very call claimed before its answer was lost, where that attempt is still under way.
local function answered_before()
  local id, attempt = string.match(redis.call("GET", answered) or "", "^(.*)|(%d+)$")
  local d = id and load_delivery(id)
  if d and d.status == "sending" and d.attempts == tonumber(attempt) then
    return redis.call("HGETALL", delivery_key(id))
  end
end

-- The gates of a delivery that let no more through, and those that do.
local function look(d)
  local closed, open = {}, {}
  for i, gate in ipairs(d.gates) do
    local busy = outbox_key("busy", gate)
    redis.call("ZREMRANGEBYSCORE", busy, "-inf", now)
    local side = redis.call("ZCARD", busy) < tonumber(ARGV[1 + i]) and open or closed
    side[#side + 1] = gate
  end
  return closed, open
end

-- It waits at the first of them; a place it leaves free is another's.
local function step_aside(d, score, closed, open)
  redis.call("ZADD", outbox_key("crowd", closed[1]), score, d.id)
  redis.call("SADD", outbox_key("crowded"), closed[1])
  for _, gate in ipairs(open) do admit(gate) end
end

local function send(d)
  local lease = now + tonumber(ARGV[1])
  local attempt = redis.call("HINCRBY", delivery_key(d.id), "attempts", 1)
  redis.call("SET", answered, d.id .. "|" .. attempt, "PX", ANSWERED_MS)
  redis.call("HSET", delivery_key(d.id), "status", "sending")
  redis.call("HDEL", delivery_key(d.id), "next_ms")
  redis.call("ZADD", outbox_key("sending"), lease, d.id)
  for _, gate in ipairs(d.gates) do
    redis.call("ZADD", outbox_key("busy", gate), lease, d.id)
    redis.call("PEXPIREAT", outbox_key("busy", gate), lease + 60000)
  end
  return redis.call("HGETALL", delivery_key(d.id))
end

local before = answered_before()
if before then return before end
for _ = 1, tonumber(ARGV[4]) do
  local id = redis.call("ZRANGEBYSCORE", due, "-inf", now, "LIMIT", 0, 1)[1]
  if not id then return nil end
  local score = redis.call("ZSCORE", due, id)
  redis.call("ZREM", due, id)
  local d = load_delivery(id)
  if d and d.status == "due" then
    local closed, open = look(d)
    if #closed == 0 then return send(d) end
    step_aside(d, score, closed, open)
  end
end
return nil
