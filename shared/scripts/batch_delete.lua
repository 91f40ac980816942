#!lua flags=allow-oom
-- Callers see a batch no more; batch_step.lua removes it and its jobs, piece by piece.
-- Keys: lib/members.lua
-- ARGV: batch, tenant, "storing" to keep one that is accepted by now, or "", its stem or nothing
-- Answers "accepted" | "gone".

local b = load_batch(ARGV[1], ARGV[2])
if not b or b.phase == "leaving" then return "gone" end
if ARGV[4] and ARGV[4] ~= "" and ARGV[4] ~= b.stem then return "gone" end
if ARGV[3] == "storing" and b.phase ~= "storing" then return "accepted" end
redis.call("HSET", b.key, "phase", "leaving", "forget", 1)
redis.call("ZREM", P .. "batches:" .. b.tenant, b.id)
look_at_batch(b, now_ms())
return "accepted"
