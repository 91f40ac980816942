#!lua flags=allow-oom
-- An attempt ended with an error: the unit is due again later, or its job has failed.
-- ARGV: job, unit, attempt, error, can a retry help 0|1, attempts allowed, first delay ms,
--       longest delay ms, share of the delay to wait in [0.5, 1]
-- Answers "accepted" | "repeated" | "stale" | "ended" | "gone".

local job, unit = load_job(ARGV[1]), ARGV[2]
local u, refusal = held_by(job, unit, tonumber(ARGV[3]))
if not u then return refusal end

u.e = u.e + 1
let_go(job, unit, u)
if ARGV[5] == "1" and u.e < tonumber(ARGV[6]) then
  local delay_ms = math.min(tonumber(ARGV[8]), tonumber(ARGV[7]) * 2 ^ math.min(u.e - 1, 20))
  u.s = "waiting"
  save_unit(job.id, unit, u)
  redis.call("ZADD", P .. "retries", now_ms() + math.floor(delay_ms * tonumber(ARGV[9])), job.id .. "|" .. unit)
else
  u.s = "failed"
  save_unit(job.id, unit, u)
  end_job(job, "failed", ARGV[4])
end
return "accepted"
