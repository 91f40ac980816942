#!lua flags=allow-oom
-- Cached segments beyond the limit go, least recently used first, and those that are too old.
-- What a job may still need is not old, however long ago it was looked up.
-- ARGV: limit in bytes, how many are looked at
-- Answers how many are gone.

local n_gone = 0
for _, digest in ipairs(redis.call("ZRANGE", P .. "cache:used", 0, ARGV[2] - 1)) do
  local _, expired = entry(digest)
  local n_bytes = tonumber(redis.call("GET", P .. "cache:bytes") or 0)
  if n_bytes <= tonumber(ARGV[1]) and not expired then break end
  if in_use(digest) then
    redis.call("ZADD", P .. "cache:used", now_ms(), digest)
  else
    drop_entry(digest)
    count("evictions")
    n_gone = n_gone + 1
  end
end
return n_gone
