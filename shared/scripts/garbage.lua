#!lua flags=allow-oom
-- What is to be deleted from the store now. A stray the index knows by now is none.
-- ARGV: how many at most
-- Answers entries of `garbage`: "<object prefix, or whole key>|<pass>".

local found = {}
local ripe = redis.call("ZRANGEBYSCORE", P .. "garbage", "-inf", now_ms(), "LIMIT", 0, ARGV[1])
for _, one in ipairs(ripe) do
  local stray = string.match(one, "^(.*)|stray$")
  local digest = stray and digest_in(stray)
  if digest and is_cached(digest, stray) then
    redis.call("ZREM", P .. "garbage", one)
  else
    found[#found + 1] = one
  end
end
return found
