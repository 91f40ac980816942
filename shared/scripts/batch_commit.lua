-- A batch is accepted: all its jobs are stored, from now on they become due.
-- Keys: lib/members.lua
-- ARGV: batch, tenant, how many inputs were left out, their faults or ""
-- Answers the batch's phase afterwards, or "gone".

local b = load_batch(ARGV[1], ARGV[2])
if not b then return "gone" end
if b.phase ~= "storing" then return b.phase end

b.phase = "releasing"
redis.call("HSET", b.key, "phase", b.phase, "n_rejected", ARGV[3],
  "n_total", redis.call("ZCARD", batch_key(b.id, b.tenant, "jobs")))
if ARGV[4] ~= "" then redis.call("SET", batch_key(b.id, b.tenant, "rejected"), ARGV[4]) end
redis.call("ZADD", P .. "batches:" .. b.tenant, redis.call("HGET", b.key, "created_ms"), b.id)
look_at_batch(b, now_ms())
settle_batch(b)
touch_batch(b)
return b.phase
