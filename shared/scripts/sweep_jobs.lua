#!lua flags=allow-oom
-- Jobs past their deadline expire; ended jobs past their retention are removed, once the message of
-- their end is delivered.
-- ARGV: how many of each at most, the error of an expired job
-- Answers {expired, removed}.

local now, n_expired, n_removed = now_ms(), 0, 0
for _, id in ipairs(redis.call("ZRANGEBYSCORE", P .. "deadlines", "-inf", now, "LIMIT", 0, ARGV[1])) do
  redis.call("ZREM", P .. "deadlines", id)
  local job = load_job(id)
  if job and job.active then
    end_job(job, "expired", ARGV[2])
    n_expired = n_expired + 1
  end
end
for _, id in ipairs(redis.call("ZRANGEBYSCORE", P .. "retention", "-inf", now, "LIMIT", 0, ARGV[1])) do
  redis.call("ZREM", P .. "retention", id)
  local job = load_job(id)
  if not job or job.active then
    -- it is gone, or runs again
  elseif undelivered(message_id(job, "completed")) then
    redis.call("ZADD", P .. "retention", now + 60000, id)
  else
    purge(job, false)
    n_removed = n_removed + 1
  end
end
return {n_expired, n_removed}
