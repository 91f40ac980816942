#!lua flags=allow-oom
-- One more request in this minute, where there is room for it.
-- requests:<who>   STRING  requests in the minute that began with the first of them
-- ARGV: who, requests allowed
-- Answers {requests made, this one among them if it is allowed, ms until the minute ends, 1 | 0
-- allowed}.

local key = P .. "requests:" .. ARGV[1]
local used = tonumber(redis.call("GET", key) or 0)
if used >= tonumber(ARGV[2]) then return {used, redis.call("PTTL", key), 0} end
used = redis.call("INCR", key)
if used == 1 then redis.call("PEXPIRE", key, 60000) end
return {used, redis.call("PTTL", key), 1}
