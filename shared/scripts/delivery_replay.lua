-- A delivery is due now, under its own id, with a whole schedule of tries before it. One that is on
-- its way is left alone.
-- Keys: lib/outbox.lua
-- ARGV: delivery, tenant
-- Answers "accepted" | "gone".

local d = load_delivery(ARGV[1])
if not d or d.tenant ~= ARGV[2] then return "gone" end
if d.status == "sending" then return "accepted" end
redis.call("HSET", delivery_key(d.id), "base", d.attempts)
if d.status ~= "due" then
  redis.call("HDEL", delivery_key(d.id), "finished_ms")
  redis.call("PERSIST", delivery_key(d.id))
  redis.call("PERSIST", delivery_key(d.id, "tries"))
  redis.call("HINCRBY", outbox_key("ended"), d.status, -1)
end
for _, gate in ipairs(d.gates) do redis.call("ZREM", outbox_key("crowd", gate), d.id) end
make_due(d, now_ms())
return "accepted"
