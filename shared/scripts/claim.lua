#!lua flags=allow-oom
-- A worker takes the most urgent due work of a lane, fairly: interactive before bulk by weight,
-- tenants in turn charged in characters, priorities and age within a tenant. A segment the cache
-- has by now is finished here, one that another renders just now is parked; both cost nothing.
-- Repeating a call with the same nonce answers the same units, so a call that timed out is safe.
-- ARGV: worker, voice, how many segments at most, lease ms, nonce
-- Answers {is there more to settle, claim, ...} with each claim {job, unit, attempt, tenant,
-- request, matter}: one plan (its matter the text), one assembly (how many segments it joins), or
-- up to that many segments (what to speak).
-- claimed:<worker> STRING the last nonce and what it claimed, expires with the lease

local worker, voice, limit, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local INTERACTIVE_SHARE = 4 -- of five claims, when both classes wait
local BULK_PATIENCE_MS = 30000
local SETTLED_AT_ONCE = 50 -- segments finished or parked by one call
local turn_key = P .. "lane:" .. voice .. ":turn" -- HASH claims: interactive ones in a row, bulk_ms
local now = now_ms()

local function matter(job, unit)
  if unit == "plan" then return redis.call("GET", job_key(job.id, "text")) or "" end
  if unit == "assemble" then return tostring(job.segments_total) end
  return redis.call("HGET", job_key(job.id, "specs"), unit)
end

local function row(job, unit, attempt)
  return {job.id, unit, attempt, job.tenant, redis.call("HGET", job_key(job.id), "request"),
    matter(job, unit)}
end

-- What this very call claimed before its answer was lost, where it is still the caller's.
local function answered_before()
  local kept = redis.call("GET", P .. "claimed:" .. worker)
  local last = kept and cjson.decode(kept)
  if not last or last.nonce ~= ARGV[5] then return nil end
  local rows = {}
  for _, c in ipairs(last.claims) do
    local job = load_job(c[1])
    if held_by(job, c[2], c[3]) then rows[#rows + 1] = row(job, c[2], c[3]) end
  end
  table.insert(rows, 1, 0)
  return rows
end

local function classes()
  local turn = redis.call("HMGET", turn_key, "claims", "bulk_ms")
  local waited_ms = now - tonumber(turn[2] or now)
  if tonumber(turn[1] or 0) >= INTERACTIVE_SHARE or waited_ms > BULK_PATIENCE_MS then
    return {"bulk", "interactive"}
  end
  return CLASSES
end

-- Bulk's turn comes after so many interactive claims in a row, so that a greeting of a few claims
-- behind a book is done without a piece of the book in between.
local function count_turn(class)
  local bulk = tonumber(redis.call("GET", lane_key(voice, "bulk", "depth")) or 0)
  if class == "interactive" and bulk > 0 then
    redis.call("HINCRBY", turn_key, "claims", 1)
  else
    redis.call("HSET", turn_key, "claims", 0, "bulk_ms", now)
  end
end

-- Neighbours are batched only as far as every worker finds something to do.
local function fair_limit(class)
  if limit == 1 then return 1 end
  local depth = tonumber(redis.call("GET", lane_key(voice, class, "depth")) or 0)
  return math.max(1, math.min(limit, math.ceil(depth / math.max(1, ready_workers(voice)))))
end

local function retire(class, tenant)
  redis.call("LREM", lane_key(voice, class, "ring"), 1, tenant)
  redis.call("HDEL", lane_key(voice, class, "credit"), tenant)
end

-- The next due member of a class and its tenant, without taking it.
local function peek(class)
  local ring, credit = lane_key(voice, class, "ring"), lane_key(voice, class, "credit")
  while true do
    local tenant = redis.call("LINDEX", ring, 0)
    if not tenant then return nil end
    local member = redis.call("ZRANGE", lane_key(voice, class, "due:" .. tenant), 0, 0)[1]
    if not member then
      retire(class, tenant)
    elseif tonumber(redis.call("HGET", credit, tenant)) > 0 then
      return member, tenant
    else
      redis.call("HINCRBY", credit, tenant, QUANTUM)
      redis.call("LMOVE", ring, ring, "LEFT", "RIGHT")
    end
  end
end

local function take(class, tenant, job, unit, u)
  drop_due(voice, class, tenant, job.id .. "|" .. unit)
  redis.call("HINCRBY", lane_key(voice, class, "credit"), tenant, -math.max(1, u.c))
  u.s, u.a, u.w = "claimed", u.a + 1, worker
  save_unit(job.id, unit, u)
  start_rendering(job, unit, u)
  redis.call("SADD", job_key(job.id, "held"), unit)
  redis.call("ZADD", leases_key(voice), now + lease_ms, job.id .. "|" .. unit)
  if job.status == "queued" then
    count_in_batch(job, "queued", "running")
    job.status = "running"
    redis.call("HSET", job_key(job.id), "status", "running")
    redis.call("HSETNX", job_key(job.id), "started_ms", now)
    redis.call("ZREM", lane_key(voice, class, "queued"), job.id)
    post(job, "started")
    touch(job)
  end
  return row(job, unit, u.a)
end

local function is_segment(unit)
  return unit ~= "plan" and unit ~= "assemble"
end

local n_settled = 0

-- Whether a due unit needs no worker: it is done, or parked, and no longer due.
local function settle(class, tenant, job, unit, u)
  if hit(job, unit, u) then
    make_assembly_due(job)
    touch(job)
  elseif not park(job, unit, u) then
    return false
  end
  drop_due(voice, class, tenant, job.id .. "|" .. unit)
  n_settled = n_settled + 1
  return true
end

-- Takes the next unit of a class; answers it and whether it is the last of its batch. What killed
-- a worker or failed before goes by itself, so that its neighbours are not charged again.
local function take_from(class, batch)
  while n_settled < SETTLED_AT_ONCE do
    local member, tenant = peek(class)
    if not member then return nil end
    local id, unit = string.match(member, "^(.*)|(.*)$")
    local job, u = load_job(id), load_unit(id, unit)
    if not (job and job.active and u and u.s == "due") then
      drop_due(voice, class, tenant, member)
    elseif not settle(class, tenant, job, unit, u) then
      local alone = not is_segment(unit) or u.l > 0 or u.e > 0
      if alone and #batch > 0 then return nil end
      return take(class, tenant, job, unit, u), alone
    end
  end
  return nil
end

local before = answered_before()
if before then return before end

local more, reviving = unpark_next(), revive_next()
local batch, claims = {}, {}
for _, class in ipairs(classes()) do
  local most = fair_limit(class)
  local taken, last = take_from(class, batch)
  while taken do
    batch[#batch + 1] = taken
    claims[#claims + 1] = {taken[1], taken[2], taken[3]}
    if last or #batch >= most then break end
    taken, last = take_from(class, batch)
  end
  if #batch > 0 then count_turn(class) end
  more = more or n_settled >= SETTLED_AT_ONCE
  if #batch > 0 or more then break end -- a greeting never waits for a batch of a book
end
if #claims > 0 then
  redis.call("SET", P .. "claimed:" .. worker, cjson.encode({nonce = ARGV[5], claims = claims}),
    "PX", lease_ms)
end
table.insert(batch, 1, (more or reviving) and 1 or 0) -- what is due already waits for no revival
return batch
