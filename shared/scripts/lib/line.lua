-- Who speaks before whom and for how long: places in the line, waits and ends expected.
--
-- lane:<voice>:pace  HASH  what work cost of late, old work fading: <what>_chars, <what>_ms, <what>_n
--                          for speak (segments), join (assemblies), join_<format>
--
-- A worker's time is the measure: the characters that go first, by the rules the claim follows,
-- times what a character costs, shared by the workers that are ready.

local RANK = 4398046511104 -- 2^42; a job's order is its priority's rank times this and its number
local PRESENCE_MS = 10000 -- a worker silent for longer does not count
local FADE_MS = 60000 -- work done so many ms of workers' time ago counts a third
local FADE_LEAST = 0.9 -- but the last ten pieces of work always count
local JOBS_LOOKED_AT = 200 -- of those before a job; more of them are taken to be like the rest
local INTERACTIVE_TO_BULK = 4 -- as the claim shares turns

local function note_pace(voice, what, chars, ms)
  if ms <= 0 or chars <= 0 then return end
  local pace = P .. "lane:" .. voice .. ":pace"
  local v = redis.call("HMGET", pace, what .. "_chars", what .. "_ms", what .. "_n")
  local keep = math.max(math.exp(-ms / FADE_MS), FADE_LEAST)
  redis.call("HSET", pace, what .. "_chars", tonumber(v[1] or 0) * keep + chars,
    what .. "_ms", tonumber(v[2] or 0) * keep + ms, what .. "_n", tonumber(v[3] or 0) * keep + 1)
end

-- Answers ms a character costs and characters a piece has, or nil where nothing was measured.
local function pace_of(voice, what)
  local v = redis.call("HMGET", P .. "lane:" .. voice .. ":pace", what .. "_chars", what .. "_ms",
    what .. "_n")
  if not v[1] then return nil end
  return v[2] / v[1], v[1] / v[3]
end

local function ready_workers(voice)
  return redis.call("ZCOUNT", P .. "lane:" .. voice .. ":workers", now_ms() - PRESENCE_MS, "+inf")
end

-- Characters of a tenant's jobs that go before `order`.
local function chars_before(voice, class, tenant, order)
  local line, sum = lane_key(voice, class, "line:" .. tenant), 0
  local below = "(" .. string.format("%.0f", order)
  local n_jobs = redis.call("ZCOUNT", line, "-inf", below)
  local first = redis.call("ZRANGEBYSCORE", line, "-inf", below, "LIMIT", 0, JOBS_LOOKED_AT)
  for _, id in ipairs(first) do sum = sum + chars_left(id) end
  if n_jobs > #first then
    local all = tonumber(redis.call("HGET", lane_key(voice, class, "left"), tenant) or 0)
    local n_unknown = redis.call("ZCARD", line) - #first
    sum = sum + math.max(0, all - sum) * (n_jobs - #first) / n_unknown
  end
  return sum
end

-- Characters a class has left, those of one tenant apart and no other's counted above `most`.
local function chars_of_others(voice, class, tenant, most)
  local sum, rows = 0, redis.call("HGETALL", lane_key(voice, class, "left"))
  for i = 1, #rows, 2 do
    if rows[i] ~= tenant then sum = sum + math.min(most, math.max(0, tonumber(rows[i + 1]))) end
  end
  return sum
end

-- Characters a lane speaks until `own` of a tenant's are spoken: tenants take turns, and so do
-- the classes.
local function chars_until(voice, class, tenant, own)
  local turn = own + QUANTUM / 2 -- who comes meets the others in the middle of a turn
  local sum = own + chars_of_others(voice, class, tenant, turn)
  if class == "interactive" then
    return sum + chars_of_others(voice, "bulk", "", sum / INTERACTIVE_TO_BULK)
  end
  return sum + math.min(sum * INTERACTIVE_TO_BULK, chars_of_others(voice, "interactive", "", math.huge))
end

-- `ms` of work in a lane and what else its workers do meanwhile for other voices, who take turns.
local function among_voices(voice, n_workers, ms)
  local sum = ms
  for _, other in ipairs(redis.call("SMEMBERS", P .. "lanes")) do
    local chars = other ~= voice and chars_of_others(other, "interactive", "", math.huge)
      + chars_of_others(other, "bulk", "", math.huge)
    local cost = chars and chars > 0 and pace_of(other, "speak")
    if cost then
      local n_both = redis.call("ZINTERCARD", 2, P .. "lane:" .. voice .. ":workers",
        P .. "lane:" .. other .. ":workers")
      sum = sum + math.min(ms, chars * cost) * math.min(1, n_both / n_workers)
    end
  end
  return sum
end

-- A lane's figures for what follows, or nil where no worker has spoken yet.
local function measure(voice)
  local speak, segment = pace_of(voice, "speak")
  if not speak then return nil end
  return {speak = speak, segment = segment, all = speak + (pace_of(voice, "join") or 0),
    workers = ready_workers(voice), claimed = redis.call("ZCARD", leases_key(voice))}
end

-- Ms until one starts that goes before every job from `order` on, or nil.
local function wait_of(voice, class, tenant, order, m)
  m = m or measure(voice)
  if not m then return nil end
  local n = math.max(1, m.workers)
  local before = chars_until(voice, class, tenant, chars_before(voice, class, tenant, order))
  local waiting = math.max(0, before - m.claimed * m.segment)
  local busy_ms = m.claimed >= n and m.segment * m.speak / (n + 1) or 0
  return among_voices(voice, n, waiting * m.all) / n + busy_ms
end

-- Ms until the audio of a job that is wholly spoken is joined.
local function joining_of(job, m)
  local format = cjson.decode(redis.call("HGET", job_key(job.id), "request")).format
  local cost = pace_of(job.voice, "join_" .. format) or m.all - m.speak
  local v = redis.call("HMGET", job_key(job.id), "planned_chars", "n_chars")
  local unit = load_unit(job.id, "assemble")
  local since = unit and unit.s and unit.d and now_ms() - unit.d or 0
  return math.max(0, tonumber(v[1] or v[2]) * cost - since)
end

-- Ms until a job is done, or nil.
local function end_of(job, m)
  local left = chars_left(job.id)
  local before = left > 0 and chars_before(job.voice, job.class, job.tenant, job.order) or 0
  local others = left > 0 and chars_until(job.voice, job.class, job.tenant, before + left) - left or 0
  local own_ms = math.max(left / m.workers, math.min(left, m.segment)) * m.speak
  return among_voices(job.voice, m.workers, others * m.all + own_ms * m.workers) / m.workers
    + joining_of(job, m)
end

-- Its place among those nobody has claimed from, ms until it starts and until it is done, each -1
-- where that is unknown or past, then its fields and values.
local function job_record(job)
  local record = redis.call("HGETALL", job_key(job.id))
  local rank = redis.call("ZRANK", lane_key(job.voice, job.class, "queued"), job.id)
  local m = job.active and measure(job.voice)
  local known = m and m.workers > 0
  local starts = known and rank and wait_of(job.voice, job.class, job.tenant, job.order, m)
  table.insert(record, 1, known and math.floor(end_of(job, m) + 0.5) or -1)
  table.insert(record, 1, starts and math.floor(starts + 0.5) or -1)
  table.insert(record, 1, rank and rank + 1 or -1)
  return record
end
