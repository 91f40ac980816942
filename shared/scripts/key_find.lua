#!lua flags=allow-oom
-- A key's record while it works.
-- key:<id>   HASH  as in key_create.lua
-- ARGV: id
-- Answers its fields and values, or {} when it is unknown, revoked or past its time.

local key = P .. "key:" .. ARGV[1]
local ends = redis.call("HMGET", key, "expires_ms", "revoked_ms")
if not ends[1] or ends[2] then return {} end
if ends[1] ~= "" and tonumber(ends[1]) <= now_ms() then return {} end
return redis.call("HGETALL", key)
