#!lua flags=allow-oom
-- How many deliveries are in each state.
-- Keys: lib/outbox.lua
-- Answers {due, sending, delivered, dead}.

local n_due = redis.call("ZCARD", outbox_key("due"))
for _, gate in ipairs(redis.call("SMEMBERS", outbox_key("crowded"))) do
  n_due = n_due + redis.call("ZCARD", outbox_key("crowd", gate))
end
local ended = redis.call("HMGET", outbox_key("ended"), "delivered", "dead")
return {n_due, redis.call("ZCARD", outbox_key("sending")), tonumber(ended[1] or 0),
  tonumber(ended[2] or 0)}
