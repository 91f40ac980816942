-- Answers the secrets that sign a tenant's webhooks now, the current one first.
-- secrets:webhook:<tenant>   ZSET  secret -> ms at which it stops signing, +inf for the current one
-- ARGV: tenant, a fresh secret, taken when there is none

local secrets = P .. "secrets:webhook:" .. ARGV[1]
redis.call("ZREMRANGEBYSCORE", secrets, "-inf", now_ms())
if redis.call("ZCOUNT", secrets, "+inf", "+inf") == 0 then
  redis.call("ZADD", secrets, "+inf", ARGV[2])
end
return redis.call("ZREVRANGE", secrets, 0, -1)
