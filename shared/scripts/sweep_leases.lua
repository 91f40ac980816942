#!lua flags=allow-oom
-- Units whose worker fell silent are due again; one that lost too many workers fails its job.
-- ARGV: how many at most, losses allowed, the error of a lost segment
-- Answers how many leases had ended.

local now, n_ended = now_ms(), 0
for _, voice in ipairs(redis.call("SMEMBERS", P .. "lanes")) do
  local expired = redis.call("ZRANGEBYSCORE", leases_key(voice), "-inf", now, "LIMIT", 0, ARGV[1])
  for _, member in ipairs(expired) do
    redis.call("ZREM", leases_key(voice), member)
    local id, unit = string.match(member, "^(.*)|(.*)$")
    local job, u = load_job(id), load_unit(id, unit)
    if job and job.active and u and u.s == "claimed" then
      let_go(job, unit, u)
      u.l, u.x = u.l + 1, u.x or {}
      table.insert(u.x, u.a)
      if u.l >= tonumber(ARGV[2]) then
        u.s = "failed"
        save_unit(id, unit, u)
        end_job(job, "failed", ARGV[3])
      else
        push_due(job, unit, u)
      end
      n_ended = n_ended + 1
    end
  end
end
return n_ended
