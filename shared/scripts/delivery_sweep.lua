#!lua flags=allow-oom
-- Deliveries whose courier was lost are due again, or given up with their last try; gates with
-- room but a crowd before them let one in.
-- Keys: lib/outbox.lua
-- ARGV: how many at most, tries a message gets, ms to keep an ended record
-- Answers how many had lost their courier.

local now, n_lost = now_ms(), 0
for _, id in ipairs(redis.call("ZRANGEBYSCORE", outbox_key("sending"), "-inf", now, "LIMIT", 0,
  ARGV[1])) do
  local d = load_delivery(id)
  if d and d.status == "sending" then
    log_try(d, {error = "the courier was lost", duration_ms = 0})
    if d.attempts - d.base >= tonumber(ARGV[2]) then
      end_delivery(d, "dead", tonumber(ARGV[3]))
    else
      make_due(d, now)
    end
    n_lost = n_lost + 1
  end
  redis.call("ZREM", outbox_key("sending"), id)
end
for _, gate in ipairs(redis.call("SRANDMEMBER", outbox_key("crowded"), ARGV[1])) do
  if redis.call("ZCOUNT", outbox_key("busy", gate), now, "+inf") == 0 then admit(gate) end
end
return n_lost
