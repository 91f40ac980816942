#!lua flags=allow-oom
-- A key works no more. Repeating changes nothing.
-- key:<id>   HASH  as in key_create.lua
-- ARGV: id
-- Answers 1, or 0 when there is no such key.

local key = P .. "key:" .. ARGV[1]
if redis.call("EXISTS", key) == 0 then return 0 end
if redis.call("HSETNX", key, "revoked_ms", now_ms()) == 1 then
  redis.call("HSET", key, "hash", "")
  redis.call("PEXPIRE", key, ENDED_KEY_MS)
end
return 1
