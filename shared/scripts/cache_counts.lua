#!lua flags=allow-oom
-- How the cache of segments stands.
-- Answers {hits, misses, evictions, segments, bytes}.

local counts = redis.call("HMGET", P .. "cache:counts", "hits", "misses", "evictions")
return {tonumber(counts[1] or 0), tonumber(counts[2] or 0), tonumber(counts[3] or 0),
  redis.call("ZCARD", P .. "cache:used"), tonumber(redis.call("GET", P .. "cache:bytes") or 0)}
