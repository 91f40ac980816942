#!lua flags=allow-oom
-- The delivery due longest is claimed: a new attempt, its fencing number, under a lease. Those whose
-- receiver is at its limit step aside until it has room.
-- Keys: lib/outbox.lua
-- ARGV: lease ms, most at once to one receiver, how many due ones to look at
-- Answers the record's fields, or nothing when none is due.

local now, due = now_ms(), outbox_key("due")
for _ = 1, tonumber(ARGV[3]) do
  local id = redis.call("ZRANGEBYSCORE", due, "-inf", now, "LIMIT", 0, 1)[1]
  if not id then return nil end
  local score = redis.call("ZSCORE", due, id)
  redis.call("ZREM", due, id)
  local d = load_delivery(id)
  if d and d.status == "due" then
    local busy = outbox_key("busy", d.host)
    redis.call("ZREMRANGEBYSCORE", busy, "-inf", now)
    if redis.call("ZCARD", busy) < tonumber(ARGV[2]) then
      local lease = now + tonumber(ARGV[1])
      redis.call("HINCRBY", delivery_key(id), "attempts", 1)
      redis.call("HSET", delivery_key(id), "status", "sending")
      redis.call("HDEL", delivery_key(id), "next_ms")
      redis.call("ZADD", outbox_key("sending"), lease, id)
      redis.call("ZADD", busy, lease, id)
      redis.call("PEXPIREAT", busy, lease + 60000)
      return redis.call("HGETALL", delivery_key(id))
    end
    redis.call("ZADD", outbox_key("crowd", d.host), score, id)
    redis.call("SADD", outbox_key("crowded"), d.host)
  end
end
return nil
