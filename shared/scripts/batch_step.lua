#!lua flags=allow-oom
-- The next piece of what a batch still has to do: release its jobs, cancel them, or remove them. One
-- whose sender fell silent before it was accepted, or whose retention has ended, is removed.
-- Keys: lib/members.lua
-- ARGV: batch or "" for any whose time has come, tenant, how many jobs at most
-- Answers {batch, tenant, is there more to do 0|1}, or nothing.

local id, tenant, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now, work = now_ms(), P .. "batches:work"

if id == "" then
  local member = redis.call("ZRANGEBYSCORE", work, "-inf", now, "LIMIT", 0, 1)[1]
  if not member then return nil end
  id, tenant = string.match(member, "^([^|]*)|(.*)$")
end
local b = load_batch(id, tenant)
if not b then
  redis.call("ZREM", work, id .. "|" .. tenant)
  return nil
end
local jobs = batch_key(id, tenant, "jobs")

local function next_jobs()
  return redis.call("ZRANGEBYSCORE", jobs, "(" .. b.cursor, "+inf", "LIMIT", 0, limit)
end

-- Notes how far it has come; the end of a walk leaves the cursor at its start for the next one.
local function walked(ids)
  local more = #ids == limit
  redis.call("HSET", b.key, "cursor", more and redis.call("ZSCORE", jobs, ids[#ids]) or 0)
  return more
end

local function release(job_id)
  local v = redis.call("HMGET", job_key(job_id), "created_ms", "deadline_ms")
  local job, plan = load_job(job_id), load_unit(job_id, "plan")
  redis.call("ZADD", P .. "jobs:" .. tenant, v[1], job_id)
  if plan.s then return end
  if not job.active then -- it ended before its turn; now a retry makes its plan due
    plan.s = "due"
    save_unit(job_id, "plan", plan)
    return
  end
  redis.call("ZADD", lane_key(job.voice, job.class, "queued"), job.order, job_id)
  if v[2] and v[2] ~= "" then
    redis.call("ZADD", P .. "deadlines", now + tonumber(v[2]), job_id)
  end
  join_line(job)
  push_due(job, "plan", plan)
end

local function cancel(job_id)
  local job = load_job(job_id)
  if job.active then end_job(job, "canceled") end
end

local function remove()
  local ids = redis.call("ZRANGE", jobs, 0, limit - 1)
  local forget = redis.call("HGET", b.key, "forget") == "1" -- deleted, not merely kept long enough
  for _, job_id in ipairs(ids) do
    local job = load_job(job_id)
    -- One that was retried stands in the line, though it may not be released yet.
    local placed = job.round > 0 or redis.call("ZSCORE", P .. "jobs:" .. tenant, job_id)
    if job.active and placed then end_job(job, "canceled") else count_ended(job_id) end
    purge(job, forget)
  end
  if #ids == limit then return true end
  if b.idempotency_key ~= "" then
    redis.call("DEL", P .. "batch:key:" .. tenant .. ":" .. b.idempotency_key)
  end
  redis.call("UNLINK", b.key, jobs, batch_key(id, tenant, "rejected"))
  redis.call("ZREM", work, id .. "|" .. tenant)
  redis.call("PUBLISH", P .. "events", "batch:" .. id .. ":" .. tenant .. "|999999999")
  return false
end

local function rest()
  if b.finished_ms then look_at_batch(b, b.expires_ms)
  else redis.call("ZREM", work, id .. "|" .. tenant) end
end

-- Whether the messages of its end and of its jobs' ends are delivered: "yes", "no", or "so far" when
-- there are more jobs to look at.
local function is_told()
  if undelivered(batch_message_id(b)) then return "no" end
  local from = redis.call("HGET", b.key, "told") or 0
  local ids = redis.call("ZRANGEBYSCORE", jobs, "(" .. from, "+inf", "LIMIT", 0, limit)
  for _, job_id in ipairs(ids) do
    if undelivered(message_id(load_job(job_id), "completed")) then return "no" end
  end
  if #ids < limit then return "yes" end
  redis.call("HSET", b.key, "told", redis.call("ZSCORE", jobs, ids[#ids]))
  return "so far"
end

local silent = b.phase == "storing" and tonumber(redis.call("ZSCORE", work, id .. "|" .. tenant)) <= now
local over = b.phase == "open" and b.finished_ms and b.expires_ms <= now
if over then
  local told = is_told()
  if told == "no" then look_at_batch(b, now + 60000) end
  if told ~= "yes" then return {id, tenant, told == "so far" and 1 or 0} end
end
if silent or over then
  b.phase = "leaving"
  redis.call("HSET", b.key, "phase", b.phase)
  redis.call("ZREM", P .. "batches:" .. tenant, id)
end

if b.phase == "leaving" then return {id, tenant, remove() and 1 or 0} end
if b.phase == "releasing" then
  local ids = next_jobs()
  for _, job_id in ipairs(ids) do release(job_id) end
  if walked(ids) then return {id, tenant, 1} end
  redis.call("HSET", b.key, "phase", "open")
  if b.canceled and not b.finished_ms then return {id, tenant, 1} end
  rest()
  return {id, tenant, 0}
end
if b.phase == "open" and b.canceled and not b.finished_ms then
  local ids = next_jobs()
  for _, job_id in ipairs(ids) do cancel(job_id) end
  if walked(ids) then return {id, tenant, 1} end
  b = load_batch(id, tenant)
  rest()
end
return {id, tenant, 0}
