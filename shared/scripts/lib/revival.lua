-- Jobs that run again: what is not done of them becomes due, a part of a book at a time.
--
-- reviving                       ZSET    job -> its first segment that was not looked at yet

local REVIVED_AT_ONCE = 1000 -- Redis answers nobody else meanwhile

local function segment_name(index)
  return string.format("%06d", index)
end

-- Segments from `first` on, a step of them. Those that are held were claimed since the job runs again.
local function revive(job, first)
  local names, again = {}, {}
  for i = 1, REVIVED_AT_ONCE do names[i] = segment_name(first + i - 1) end
  local held = redis.call("SMISMEMBER", job_key(job.id, "held"), unpack(names))
  for i, text in ipairs(redis.call("HMGET", job_key(job.id, "units"), unpack(names))) do
    if text and held[i] == 0 and not string.find(text, '"s":"done"', 1, true) then
      local u = cjson.decode(text)
      u.e, u.l, u.x, u.v = 0, 0, nil, nil
      again[#again + 1], again[#again + 2] = names[i], u
    end
  end
  if #again > 0 then push_all_due(job, again) end
  local next = first + REVIVED_AT_ONCE
  if redis.call("HEXISTS", job_key(job.id, "specs"), segment_name(next)) == 1 then
    redis.call("ZADD", P .. "reviving", next, job.id)
  else
    redis.call("ZREM", P .. "reviving", job.id)
  end
end

-- Goes on with what one step could not revive; answers whether there is more.
local function revive_next()
  local found = redis.call("ZRANGE", P .. "reviving", 0, 0, "WITHSCORES")
  if not found[1] then return false end
  local job = load_job(found[1])
  if job and job.active then
    revive(job, tonumber(found[2]))
  else
    redis.call("ZREM", P .. "reviving", found[1])
  end
  return redis.call("EXISTS", P .. "reviving") == 1
end
