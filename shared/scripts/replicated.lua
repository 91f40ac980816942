#!lua flags=allow-oom
-- A write for WAIT to wait for, however full Redis is.
-- replicated   STRING  how many there were
-- Answers that number.

return redis.call("INCR", P .. "replicated")
