-- What every script shares: keys, units, the due lists and the end of a job.
--
-- job:<id>                       HASH    the job's record
-- job:<id>:text                  STRING  its text
-- job:<id>:units                 HASH    unit -> {s status, a attempt, e errors, l losses,
--                                        x attempts these were, v losses taken back, c characters, d due since ms, w worker,
--                                        k digest of what to speak where the cache may be used,
--                                        h 1 when its audio came from the cache}
-- job:<id>:specs                 HASH    segment unit -> what to speak
-- job:<id>:results               HASH    segment unit -> where its audio lies
-- job:<id>:held                  SET     units claimed now
-- job:<id>:digests               SET     cached segments its results point at
-- jobs:<tenant>                  ZSET    job -> created ms
-- idempotency:<tenant>:<key>     STRING  job
-- lanes                          SET     voices that ever had work
-- lane:<voice>:<class>:ring      LIST    tenants with due work, the next one first
-- lane:<voice>:<class>:credit    HASH    tenant -> characters it may still claim this turn
-- lane:<voice>:<class>:due:<tenant>  ZSET  "<job>|<unit>" -> order
-- lane:<voice>:<class>:depth     STRING  how many units are due, over all tenants
-- lane:<voice>:<class>:queued    ZSET    jobs nobody has claimed from -> order
-- lane:<voice>:<class>:line:<tenant> ZSET  active jobs -> order
-- lane:<voice>:<class>:left      HASH    tenant -> characters its active jobs have left to speak
-- lane:<voice>:leases            ZSET    "<job>|<unit>" -> lease's end ms
-- lane:<voice>:workers           ZSET    worker -> last seen ms
-- retries                        ZSET    "<job>|<unit>" -> due again ms
-- deadlines, retention           ZSET    job -> ms
-- garbage                        ZSET    "<object prefix, or whole key>|<pass>" -> ms
-- batch:...                      a job's batch, if it has one: lib/members.lua
-- ended:<job>                    STRING  a removed job's id of the caller's choosing, not free yet
-- active:<subject>               SET     jobs of a tenant or key that have not ended
-- active:<subject>:chars         STRING  their characters
-- delivery:<id>, deliveries:due, deliveries:of:<tenant>   the webhook outbox

local P = KEYS[1]
local CLASSES = {"interactive", "bulk"}
local TERMINAL = {succeeded = true, failed = true, canceled = true, expired = true}
local UNTOLD_MS = 4 * 86400000 -- longer than a message is tried; then the farm has no courier
local ID_REST_MS = 12 * 86400000 -- longer than a message is tried and its record then kept
local MOST_TAKEN_BACK = 20 -- losses of a unit; more, and it is work that no worker gets done
local QUANTUM = 400 -- characters a tenant's turn adds; above any segment's, so a turn serves one
local count_in_batch -- lib/members.lua: a job of a batch goes from one status to another

local function now_ms()
  local t = redis.call("TIME")
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function job_key(id, part)
  return P .. "job:" .. id .. (part and (":" .. part) or "")
end

local function lane_key(voice, class, part)
  return P .. "lane:" .. voice .. ":" .. class .. ":" .. part
end

local function leases_key(voice)
  return P .. "lane:" .. voice .. ":leases"
end

local function load_job(id)
  if string.find(id, ":", 1, true) then return nil end -- no job's name, but that of a part of one
  local v = redis.call("HMGET", job_key(id), "status", "voice", "class", "tenant", "order",
    "webhook_url", "webhook_events", "round", "retention_ms", "segments_total", "idempotency_key",
    "started_ms", "id_chosen", "batch")
  if not v[1] then return nil end
  return {id = id, status = v[1], voice = v[2], class = v[3], tenant = v[4], order = tonumber(v[5]),
    webhook_url = v[6], webhook_events = v[7], round = tonumber(v[8]), retention_ms = tonumber(v[9]),
    segments_total = tonumber(v[10] or nil), idempotency_key = v[11], started_ms = v[12], id_chosen = v[13],
    batch = v[14], active = not TERMINAL[v[1]]}
end

local function touch(job)
  local version = redis.call("HINCRBY", job_key(job.id), "version", 1)
  redis.call("PUBLISH", P .. "events", job.id .. "|" .. version)
end

-- A new job's record and text; none of its work is due yet. `fields` are name, value, ...
-- Answers its order.
local function store_job(id, rank, text, fields)
  local order = rank * 4398046511104 + redis.call("INCR", P .. "sequence") * 2 -- rank * 2^42
  redis.call("HSET", job_key(id), "id", id, "status", "queued", "order", string.format("%.0f", order),
    "created_ms", now_ms(), "round", 0, "segments_done", 0, "audio_ms", 0, "synthesis_ms", 0,
    "version", 1, unpack(fields))
  redis.call("SET", job_key(id, "text"), text)
  return order
end

local function load_unit(id, unit)
  local text = redis.call("HGET", job_key(id, "units"), unit)
  return text and cjson.decode(text) or nil
end

local function save_unit(id, unit, u)
  redis.call("HSET", job_key(id, "units"), unit, cjson.encode(u))
end

-- Assembling ends a job, so it goes before the same job's other units.
local function due_order(job, unit)
  return job.order + (unit == "assemble" and 0 or 1)
end

-- Units of a job are due: `flat` is unit, u, ... of 2000 at most. A book has too many for one by one.
local function push_all_due(job, flat)
  local now, units, members = now_ms(), {}, {}
  for i = 1, #flat, 2 do
    local unit, u = flat[i], flat[i + 1]
    u.s, u.d = "due", now
    units[i], units[i + 1] = unit, cjson.encode(u)
    members[i], members[i + 1] = due_order(job, unit), job.id .. "|" .. unit
  end
  redis.call("HSET", job_key(job.id, "units"), unpack(units))
  local n_new = redis.call("ZADD", lane_key(job.voice, job.class, "due:" .. job.tenant), unpack(members))
  redis.call("INCRBY", lane_key(job.voice, job.class, "depth"), n_new)
  if redis.call("HSETNX", lane_key(job.voice, job.class, "credit"), job.tenant, QUANTUM) == 1 then
    redis.call("RPUSH", lane_key(job.voice, job.class, "ring"), job.tenant)
  end
  redis.call("SADD", P .. "lanes", job.voice)
end

local function push_due(job, unit, u)
  push_all_due(job, {unit, u})
end

local function drop_due(voice, class, tenant, member)
  local n_gone = redis.call("ZREM", lane_key(voice, class, "due:" .. tenant), member)
  redis.call("DECRBY", lane_key(voice, class, "depth"), n_gone)
end

local stop_rendering, release_digests -- in segments.lua

-- A unit is held no more; `known_as` is the digest its audio came out under, where that is known.
local function let_go(job, unit, u, known_as)
  redis.call("ZREM", leases_key(job.voice), job.id .. "|" .. unit)
  redis.call("SREM", job_key(job.id, "held"), unit)
  if u then stop_rendering(job, unit, u, known_as) end
end

-- A worker that had fallen silent speaks of this attempt: it lives, so this was no loss.
local function take_back_loss(job, unit, u, attempt)
  for i, lost in ipairs(u.x or {}) do
    if lost == attempt and (u.v or 0) < MOST_TAKEN_BACK then
      table.remove(u.x, i)
      u.l, u.v = u.l - 1, (u.v or 0) + 1
      return save_unit(job.id, unit, u)
    end
  end
end

-- Answers the unit when this attempt still holds it, else nil and why not. Its worker asks.
local function held_by(job, unit, attempt)
  if not job then return nil, "gone" end
  local u = load_unit(job.id, unit)
  if not u then return nil, "gone" end
  if u.a == attempt and u.s == "done" then return nil, "repeated" end
  if not job.active then return nil, "ended" end
  if u.a ~= attempt or u.s ~= "claimed" then
    take_back_loss(job, unit, u, attempt)
    return nil, "stale"
  end
  return u, nil
end

-- Characters a job has left to speak; its text's own number until the plan says better.
local function chars_left(id)
  local v = redis.call("HMGET", job_key(id), "segments_total", "planned_chars", "n_chars", "spoken_chars")
  return math.max(0, tonumber(v[1] and v[2] or v[3] or 0) - tonumber(v[4] or 0))
end

local function join_line(job)
  local line = lane_key(job.voice, job.class, "line:" .. job.tenant)
  if redis.call("ZADD", line, job.order, job.id) == 0 then return end
  redis.call("HINCRBY", lane_key(job.voice, job.class, "left"), job.tenant, chars_left(job.id))
end

local function leave_line(job)
  local line, left = lane_key(job.voice, job.class, "line:" .. job.tenant), lane_key(job.voice, job.class, "left")
  if redis.call("ZREM", line, job.id) == 1 then
    redis.call("HINCRBY", left, job.tenant, 0 - chars_left(job.id)) -- "-0" is no number
  end
  if redis.call("EXISTS", line) == 0 then redis.call("HDEL", left, job.tenant) end
end

-- An active job's segment of `n` characters was spoken, or with a negative `n` must be once more.
local function spoke(job, n)
  local before = chars_left(job.id)
  redis.call("HINCRBY", job_key(job.id), "spoken_chars", n)
  redis.call("HINCRBY", lane_key(job.voice, job.class, "left"), job.tenant, chars_left(job.id) - before)
end

local function make_assembly_due(job)
  if not job.segments_total then return false end
  if redis.call("HLEN", job_key(job.id, "results")) ~= job.segments_total then return false end
  local u = load_unit(job.id, "assemble") or {a = 0, e = 0, l = 0, c = 1}
  if u.s then return false end
  push_due(job, "assemble", u)
  return true
end

-- A webhook message about a job or a batch, the subject; one of this id is there once.
local function write_delivery(id, subject, name, tenant, message)
  local now = now_ms()
  if redis.call("EXISTS", P .. "delivery:" .. id) == 1 then return end
  redis.call("HSET", P .. "delivery:" .. id, "id", id, subject, name, "tenant", tenant,
    "event", message.event, "url", message.url, "status", "due", "attempts", 0, "created_ms", now,
    "job_status", message.status)
  redis.call("ZADD", P .. "deliveries:due", now, id)
  redis.call("ZADD", P .. "deliveries:of:" .. tenant, now, id)
end

-- Whether a message is still on its way: what it tells of must not go before it.
local function undelivered(id)
  local v = redis.call("HMGET", P .. "delivery:" .. id, "status", "created_ms")
  return (v[1] == "due" or v[1] == "sending") and now_ms() < v[2] + UNTOLD_MS
end

local function message_id(job, event)
  return "msg_" .. job.id .. "_" .. event .. (job.round > 0 and "_" .. job.round or "")
end

local function post(job, event)
  if not job.webhook_url or job.webhook_url == "" then return end
  if not string.find("," .. job.webhook_events .. ",", "," .. event .. ",", 1, true) then return end
  write_delivery(message_id(job, event), "job", job.id, job.tenant,
    {event = event, url = job.webhook_url, status = job.status})
end

local function discard(prefix, after_ms)
  redis.call("ZADD", P .. "garbage", now_ms() + after_ms, prefix .. "|" .. after_ms)
end

local function active_key(name)
  return P .. "active:" .. name
end

local function count_ended(id)
  local known = redis.call("HMGET", job_key(id), "subjects", "n_chars")
  for name in string.gmatch(known[1] or "", "%S+") do
    if redis.call("SREM", active_key(name), id) == 1
        and redis.call("DECRBY", active_key(name) .. ":chars", known[2]) <= 0 then
      redis.call("DEL", active_key(name) .. ":chars")
    end
  end
end

-- The one way into a terminal state.
local function end_job(job, status, error)
  local now = now_ms()
  count_in_batch(job, job.status, status)
  job.status, job.active = status, false
  redis.call("HSET", job_key(job.id), "status", status, "finished_ms", now)
  if not job.batch then -- a batch takes its jobs with it
    redis.call("HSET", job_key(job.id), "expires_ms", now + job.retention_ms)
    redis.call("ZADD", P .. "retention", now + job.retention_ms, job.id)
  end
  if error then redis.call("HSET", job_key(job.id), "error", error) end
  for _, unit in ipairs(redis.call("SMEMBERS", job_key(job.id, "held"))) do
    local u = load_unit(job.id, unit)
    let_go(job, unit, u)
    if u.s == "claimed" then
      u.s = "due" -- should the job run again: this attempt is over, whenever its turn comes
      save_unit(job.id, unit, u)
    end
  end
  local n_due = redis.call("ZREMRANGEBYSCORE",
    lane_key(job.voice, job.class, "due:" .. job.tenant), job.order, job.order + 1)
  redis.call("DECRBY", lane_key(job.voice, job.class, "depth"), n_due)
  redis.call("ZREM", lane_key(job.voice, job.class, "queued"), job.id)
  leave_line(job)
  redis.call("ZREM", P .. "deadlines", job.id)
  count_ended(job.id)
  if status == "succeeded" then
    discard("jobs/" .. job.id .. "/segments/", 0)
    post(job, "output")
  end
  post(job, "completed")
  touch(job)
end

-- Removes every trace of a job; a second pass catches what a late worker still uploads. What the
-- cache has of it stays, unless `forget` is set and no other job uses it.
local function purge(job, forget)
  for _, key in ipairs(cjson.decode(redis.call("HGET", job_key(job.id), "more_keys") or "[]")) do
    redis.call("DEL", P .. "idempotency:" .. job.tenant .. ":" .. key)
  end
  release_digests(job, forget)
  count_in_batch(job, job.status, "deleted")
  redis.call("UNLINK", job_key(job.id), job_key(job.id, "text"), job_key(job.id, "units"),
    job_key(job.id, "specs"), job_key(job.id, "results"), job_key(job.id, "held"))
  if job.id_chosen == "1" then
    -- Late workers, object deletions and webhook messages still know the job by this name.
    redis.call("SET", P .. "ended:" .. job.id, job.tenant, "PX", ID_REST_MS)
  end
  redis.call("ZREM", P .. "jobs:" .. job.tenant, job.id)
  redis.call("ZREM", P .. "retention", job.id)
  if job.idempotency_key and job.idempotency_key ~= "" then
    redis.call("DEL", P .. "idempotency:" .. job.tenant .. ":" .. job.idempotency_key)
  end
  discard("jobs/" .. job.id .. "/", 0)
  discard("jobs/" .. job.id .. "/", 900000)
  redis.call("PUBLISH", P .. "events", job.id .. "|999999999") -- gone is newer than any version
end
