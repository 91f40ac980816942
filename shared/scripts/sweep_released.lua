#!lua flags=allow-oom
-- Removed jobs give back the cached segments they used; where a job was deleted on request, those
-- that no other job uses go too.
-- ARGV: how many at most, a job counting as one
-- Answers how many were given back.

local left, n_given = tonumber(ARGV[1]), 0
for _, id in ipairs(redis.call("HRANDFIELD", P .. "released", left)) do
  if left <= 0 then break end
  local forget = redis.call("HGET", P .. "released", id) == "forget"
  local digests = redis.call("SPOP", P .. "released:" .. id, left)
  for _, digest in ipairs(digests) do
    local used = redis.call("SREM", users_key(digest), id) == 1
    if used and forget and redis.call("SCARD", users_key(digest)) == 0 then drop_entry(digest) end
  end
  if redis.call("EXISTS", P .. "released:" .. id) == 0 then redis.call("HDEL", P .. "released", id) end
  n_given, left = n_given + #digests, left - #digests - 1
end
return n_given
