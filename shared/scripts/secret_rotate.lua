-- A tenant's webhooks get a new secret; the one before signs on for a while. Repeating changes
-- nothing.
-- secrets:webhook:<tenant>   ZSET  secret -> ms at which it stops signing, +inf for the current one
-- ARGV: tenant, the new secret, ms the one before signs on

local MOST = 5 -- signatures in one header
local secrets = P .. "secrets:webhook:" .. ARGV[1]
local until_ms = now_ms() + tonumber(ARGV[3])
for _, current in ipairs(redis.call("ZRANGEBYSCORE", secrets, "+inf", "+inf")) do
  if current ~= ARGV[2] then redis.call("ZADD", secrets, until_ms, current) end
end
redis.call("ZADD", secrets, "+inf", ARGV[2])
redis.call("ZREMRANGEBYRANK", secrets, 0, -1 - MOST)
return "accepted"
