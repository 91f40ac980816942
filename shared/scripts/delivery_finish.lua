#!lua flags=allow-oom
-- An attempt reports: the message was delivered, is due again after a delay, or is given up.
-- Keys: lib/outbox.lua
-- ARGV: delivery, attempt, "delivered" | "due" | "dead", delay ms, ms to keep an ended record,
--       the try as JSON
-- Answers "accepted" | "repeated" | "stale" | "gone".

local d = load_delivery(ARGV[1])
if not d then
  redis.call("ZREM", outbox_key("sending"), ARGV[1])
  return "gone"
end
if d.attempts ~= tonumber(ARGV[2]) then return "stale" end
if d.status ~= "sending" then return d.reported == d.attempts and "repeated" or "stale" end
log_try(d, cjson.decode(ARGV[6]))
if ARGV[3] == "due" then
  make_due(d, now_ms() + tonumber(ARGV[4]))
else
  end_delivery(d, ARGV[3], tonumber(ARGV[5]))
end
return "accepted"
