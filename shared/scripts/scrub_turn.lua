#!lua flags=allow-oom
-- Which part of the store is to be looked through for segments nobody knows.
-- ARGV: ms between two parts, how many parts there are
-- Answers its number from 0, or -1 while it is too early.
-- scrub:rest STRING there until the next part's time; scrub:turn STRING parts begun so far

if not redis.call("SET", P .. "scrub:rest", 1, "NX", "PX", ARGV[1]) then return -1 end
return redis.call("INCR", P .. "scrub:turn") % tonumber(ARGV[2])
