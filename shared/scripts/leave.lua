#!lua flags=allow-oom
-- A worker has stopped.
-- ARGV: worker, then its voices

redis.call("DEL", P .. "worker:" .. ARGV[1])
redis.call("ZREM", P .. "workers", ARGV[1])
for i = 2, #ARGV do redis.call("ZREM", P .. "lane:" .. ARGV[i] .. ":workers", ARGV[1]) end
return 1
