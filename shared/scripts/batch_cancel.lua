#!lua flags=allow-oom
-- A batch is to be canceled; batch_step.lua does it, piece by piece.
-- Keys: lib/members.lua
-- ARGV: batch, tenant
-- Answers "accepted" | "repeated" | "ended" | "storing" | "gone".

local b = load_batch(ARGV[1], ARGV[2])
if not b or b.phase == "leaving" then return "gone" end
if b.phase == "storing" then return "storing" end
if b.canceled then return "repeated" end
if b.finished_ms then return "ended" end
redis.call("HSET", b.key, "canceled_ms", now_ms())
if b.phase == "open" then redis.call("HSET", b.key, "cursor", 0) end
look_at_batch(b, now_ms())
return "accepted"
