#!lua flags=allow-oom
-- A worker hands a unit back unharmed: it stops, or the object store does not answer.
-- ARGV: job, unit, attempt, delay ms
-- Answers "accepted" | "repeated" | "stale" | "ended" | "gone".

local job, unit = load_job(ARGV[1]), ARGV[2]
local u, refusal = held_by(job, unit, tonumber(ARGV[3]))
if not u then return refusal end

let_go(job, unit, u)
if tonumber(ARGV[4]) > 0 then
  u.s = "waiting"
  save_unit(job.id, unit, u)
  redis.call("ZADD", P .. "retries", now_ms() + tonumber(ARGV[4]), job.id .. "|" .. unit)
else
  push_due(job, unit, u)
end
return "accepted"
