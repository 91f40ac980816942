#!lua flags=allow-oom
-- Every key, the newest first; those whose records have gone leave the list.
-- key:<id>   HASH  as in key_create.lua
-- keys       ZSET  key's id -> created ms
-- Answers a list of fields and values for each; expired is 1 for those past their time.

local records, now = {}, now_ms()
for _, id in ipairs(redis.call("ZREVRANGE", P .. "keys", 0, -1)) do
  local record = redis.call("HGETALL", P .. "key:" .. id)
  if #record == 0 then
    redis.call("ZREM", P .. "keys", id)
  else
    local ends_ms = redis.call("HGET", P .. "key:" .. id, "expires_ms")
    record[#record + 1] = "expired"
    record[#record + 1] = (ends_ms ~= "" and tonumber(ends_ms) <= now) and "1" or "0"
    records[#records + 1] = record
  end
end
return records
