-- Units whose retry time has come are due.
-- ARGV: how many at most
-- Answers the voices that have new due work, one for each unit.

local voices = {}
local ready = redis.call("ZRANGEBYSCORE", P .. "retries", "-inf", now_ms(), "LIMIT", 0, ARGV[1])
for _, member in ipairs(ready) do
  redis.call("ZREM", P .. "retries", member)
  local id, unit = string.match(member, "^(.*)|(.*)$")
  local job, u = load_job(id), load_unit(id, unit)
  if job and job.active and u and u.s == "waiting" then
    push_due(job, unit, u)
    voices[#voices + 1] = job.voice
  end
end
return voices
