#!lua flags=allow-oom
-- Voices nobody has offered for long, and whose lanes are empty, are forgotten.
-- ARGV: ms since a worker last offered it, how many at most
-- Answers how many are forgotten.

local n_gone, before = 0, now_ms() - tonumber(ARGV[1])

local function in_lane(voice, part)
  return P .. "lane:" .. voice .. ":" .. part
end

local function is_idle(voice)
  for _, class in ipairs(CLASSES) do
    if tonumber(redis.call("GET", lane_key(voice, class, "depth")) or 0) > 0 then return false end
    if redis.call("EXISTS", lane_key(voice, class, "queued")) == 1 then return false end
  end
  return redis.call("EXISTS", leases_key(voice)) == 0
end

for _, voice in ipairs(redis.call("ZRANGEBYSCORE", P .. "voices:seen", "-inf", before, "LIMIT", 0, ARGV[2])) do
  if is_idle(voice) then
    for _, class in ipairs(CLASSES) do
      redis.call("DEL", lane_key(voice, class, "ring"), lane_key(voice, class, "credit"),
        lane_key(voice, class, "depth"))
    end
    redis.call("DEL", in_lane(voice, "workers"), in_lane(voice, "turn"), in_lane(voice, "pace"))
    redis.call("HDEL", P .. "voices", voice)
    redis.call("ZREM", P .. "voices:seen", voice)
    redis.call("SREM", P .. "lanes", voice)
    n_gone = n_gone + 1
  end
end
return n_gone
