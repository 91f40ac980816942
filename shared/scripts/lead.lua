#!lua flags=allow-oom
-- One keeper at a time: taken when free or already one's own, for a bounded time.
-- ARGV: keeper, lease ms
-- keeper STRING the leading keeper, expires. Answers 1 when it is the caller.

local holder = redis.call("GET", P .. "keeper")
if holder and holder ~= ARGV[1] then return 0 end
redis.call("SET", P .. "keeper", ARGV[1], "PX", ARGV[2])
return 1
