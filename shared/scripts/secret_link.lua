-- Answers the key that signs links, made at its first use.
-- secret:link   STRING  the key in hex
-- ARGV: a fresh key, taken when there is none

redis.call("SET", P .. "secret:link", ARGV[1], "NX")
return redis.call("GET", P .. "secret:link")
