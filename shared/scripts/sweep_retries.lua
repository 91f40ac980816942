#!lua flags=allow-oom
-- Units whose retry time has come are due.
-- ARGV: how many at most
-- Answers how many are due now.

local n_due = 0
local ready = redis.call("ZRANGEBYSCORE", P .. "retries", "-inf", now_ms(), "LIMIT", 0, ARGV[1])
for _, member in ipairs(ready) do
  redis.call("ZREM", P .. "retries", member)
  local id, unit = string.match(member, "^(.*)|(.*)$")
  local job, u = load_job(id), load_unit(id, unit)
  if job and job.active and u and u.s == "waiting" then
    push_due(job, unit, u)
    n_due = n_due + 1
  end
end
return n_due
