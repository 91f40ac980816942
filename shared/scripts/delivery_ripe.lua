#!lua flags=allow-oom
-- How many deliveries could be sent now, and how many bells ring for them.
-- Keys: deliveries:due ZSET id -> due ms
-- ARGV: the couriers' queue
-- Answers {deliveries, bells}.

return {redis.call("ZCOUNT", P .. "deliveries:due", "-inf", now_ms()),
  redis.call("LLEN", ARGV[1])}
