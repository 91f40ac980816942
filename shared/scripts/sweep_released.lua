#!lua flags=allow-oom
-- Removed jobs give back the cached segments they used; where a job was deleted on request, those
-- that no other job uses go too.
-- ARGV: how many at most
-- Answers how many were given back.

local id = redis.call("HRANDFIELD", P .. "released")
if not id then return 0 end
local forget = redis.call("HGET", P .. "released", id) == "forget"
local digests = redis.call("SPOP", P .. "released:" .. id, ARGV[1])
for _, digest in ipairs(digests) do
  local used = redis.call("SREM", users_key(digest), id) == 1
  if used and forget and redis.call("SCARD", users_key(digest)) == 0 then drop_entry(digest) end
end
if redis.call("EXISTS", P .. "released:" .. id) == 0 then redis.call("HDEL", P .. "released", id) end
return #digests
