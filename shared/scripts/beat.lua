#!lua flags=allow-oom
-- A worker says it is still at work: leases of what it holds are extended.
-- ARGV: lease ms, then job, unit, attempt for each
-- Answers 1 for each that is still its own, 0 where it must stop.

local now, lease_ms = now_ms(), tonumber(ARGV[1])
local answers = {}
for i = 2, #ARGV, 3 do
  local job = load_job(ARGV[i])
  local u = held_by(job, ARGV[i + 1], tonumber(ARGV[i + 2]))
  if u then
    redis.call("ZADD", leases_key(job.voice), now + lease_ms, job.id .. "|" .. ARGV[i + 1])
  end
  answers[#answers + 1] = u and 1 or 0
end
return answers
