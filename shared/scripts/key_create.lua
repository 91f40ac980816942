-- A key is known from now on. Repeating changes nothing.
-- key:<id>   HASH  id, hash: SHA-256 of the key, tenant, scopes: names with spaces between, name,
--                  created_ms, expires_ms or "", limits: JSON; revoked_ms once it is revoked
-- keys       ZSET  key's id -> created ms
-- ARGV: id, hash, tenant, scopes, name, expires ms or "", limits
-- Answers its fields and values.

local key, now = P .. "key:" .. ARGV[1], now_ms()
if redis.call("EXISTS", key) == 0 then
  redis.call("HSET", key, "id", ARGV[1], "hash", ARGV[2], "tenant", ARGV[3], "scopes", ARGV[4],
    "name", ARGV[5], "created_ms", now, "expires_ms", ARGV[6], "limits", ARGV[7])
  if ARGV[6] ~= "" then redis.call("PEXPIREAT", key, tonumber(ARGV[6]) + ENDED_KEY_MS) end
  redis.call("ZADD", P .. "keys", now, ARGV[1])
end
return redis.call("HGETALL", key)
