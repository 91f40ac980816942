#!lua flags=allow-oom
-- How many deliveries are in each state, and for how long the first of them could have been sent.
-- Keys: lib/outbox.lua
-- Answers {due, sending, delivered, dead, ms}.

local n_due = redis.call("ZCARD", outbox_key("due"))
for _, gate in ipairs(redis.call("SMEMBERS", outbox_key("crowded"))) do
  n_due = n_due + redis.call("ZCARD", outbox_key("crowd", gate))
end
local ended = redis.call("HMGET", outbox_key("ended"), "delivered", "dead")
local now = now_ms()
local first = redis.call("ZRANGEBYSCORE", outbox_key("due"), "-inf", now, "WITHSCORES", "LIMIT", 0, 1)
return {n_due, redis.call("ZCARD", outbox_key("sending")), tonumber(ended[1] or 0),
  tonumber(ended[2] or 0), first[2] and now - tonumber(first[2]) or 0}
