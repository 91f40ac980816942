#!lua flags=allow-oom
-- Cached segments' objects that the index does not know are garbage, unless it does in time: a
-- worker stores an object first and reports it then.
-- ARGV: ms to wait, then the keys that are there
-- Answers how many are not known.

local n_strays, due_ms = 0, now_ms() + tonumber(ARGV[1])
for i = 2, #ARGV do
  local digest = digest_in(ARGV[i])
  if digest and not is_cached(digest, ARGV[i]) then
    redis.call("ZADD", P .. "garbage", "NX", due_ms, ARGV[i] .. "|stray")
    n_strays = n_strays + 1
  end
end
return n_strays
