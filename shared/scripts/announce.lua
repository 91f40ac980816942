#!lua flags=allow-oom
-- A worker says that it is here, what it offers and what it holds.
-- ARGV: worker, record, lifetime ms, then voice name, voice record for each
-- worker:<id> STRING record, expires; workers ZSET id -> last seen ms; voices HASH name -> record;
-- voices:seen ZSET name -> ms a worker last offered it

local now = now_ms()
redis.call("SET", P .. "worker:" .. ARGV[1], ARGV[2], "PX", ARGV[3])
redis.call("ZADD", P .. "workers", now, ARGV[1])
redis.call("ZREMRANGEBYSCORE", P .. "workers", "-inf", now - tonumber(ARGV[3]) * 10)
for i = 4, #ARGV, 2 do
  local listening = P .. "lane:" .. ARGV[i] .. ":workers"
  redis.call("HSET", P .. "voices", ARGV[i], ARGV[i + 1])
  redis.call("ZADD", P .. "voices:seen", now, ARGV[i])
  redis.call("ZADD", listening, now, ARGV[1])
  redis.call("ZREMRANGEBYSCORE", listening, "-inf", now - tonumber(ARGV[3]) * 10)
  redis.call("SADD", P .. "lanes", ARGV[i])
end
return now
