-- A job is accepted: its record, its text and "its plan is due", or the job this key made before.
-- ARGV: id, tenant, idempotency key or "", fingerprint, request, text, voice, class, rank,
--       characters, retention ms, deadline ms or "", webhook url or "", webhook events,
--       is the id of the caller's choosing 0|1, subjects with their limits (lib/limits.lua), ms it may
--       be expected to wait or "", is there room for a new job 0|1
-- Answers {"created" | "existing", job id, used, then what show.lua answers}, {"conflict" | "resting",
-- "no_room", job id, {}}, {"full", job id, the limit that leaves no room} or {"crowded", job id, {}, ms it would
-- wait}; nothing is charged then. "resting" is a chosen id that belonged to a job removed not long ago.
-- `used` has a row for each limit: {subject, limit, allowed, used, ms until it starts anew or -1}.

local MOST_KEYS = 8 -- beside the one it came with

local id, tenant, key, fingerprint = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local voice, class, rank = ARGV[7], ARGV[8], tonumber(ARGV[9])

local subjects, n_chars = cjson.decode(ARGV[16]), tonumber(ARGV[10])

local function answer(outcome, other)
  local row = job_record(load_job(other))
  table.insert(row, 1, (weigh(subjects, 0, 0, true)))
  table.insert(row, 1, other)
  table.insert(row, 1, outcome)
  return row
end

local function earlier(other)
  local known = redis.call("HMGET", job_key(other), "tenant", "fingerprint")
  if not known[1] then return nil end
  if known[1] ~= tenant or known[2] ~= fingerprint then return {"conflict", other, {}} end
  return answer("existing", other)
end

local idempotency = P .. "idempotency:" .. tenant .. ":" .. key
if key ~= "" then
  local other = redis.call("GET", idempotency)
  local found = other and earlier(other)
  if found and ARGV[15] == "1" and other ~= id then return {"conflict", other, {}} end
  if found then return found end
end
-- A known job has this key too, from now on; it goes with the job, so there may not be many.
local function name_too(job_id)
  local keys = cjson.decode(redis.call("HGET", job_key(job_id), "more_keys") or "[]")
  if #keys == MOST_KEYS then return end
  keys[#keys + 1] = key
  redis.call("HSET", job_key(job_id), "more_keys", cjson.encode(keys))
  redis.call("SET", idempotency, job_id)
end

local found = earlier(id)
if found then
  if found[1] == "existing" and key ~= "" then name_too(id) end
  return found
end
if redis.call("EXISTS", P .. "ended:" .. id) == 1 then return {"resting", id, {}} end
if ARGV[18] == "0" then return {"no_room", id, {}} end

-- Only a new job gets as far as this: what may refuse it stands here, before anything is written.
local _, full = weigh(subjects, 1, n_chars, true)
if full then return {"full", id, {full}} end

local now = now_ms()
local wait_ms = ARGV[17] ~= "" and wait_of(voice, class, tenant, (rank + 1) * RANK)
if wait_ms and wait_ms > tonumber(ARGV[17]) then
  return {"crowded", id, {}, math.floor(wait_ms + 0.5)}
end
local order = store_job(id, rank, ARGV[6], {"tenant", tenant, "fingerprint", fingerprint,
  "request", ARGV[5], "voice", voice, "class", class, "n_chars", ARGV[10], "retention_ms", ARGV[11],
  "webhook_url", ARGV[13], "webhook_events", ARGV[14], "idempotency_key", key,
  "id_chosen", ARGV[15], "subjects", names_of(subjects)})
count_active(id, names_of(subjects), n_chars)
count_spoken(subjects, n_chars)
redis.call("ZADD", P .. "jobs:" .. tenant, now, id)
redis.call("ZADD", lane_key(voice, class, "queued"), order, id)
if key ~= "" then redis.call("SET", idempotency, id) end
if ARGV[12] ~= "" then redis.call("ZADD", P .. "deadlines", now + tonumber(ARGV[12]), id) end
local job = load_job(id)
join_line(job)
push_due(job, "plan", {a = 0, e = 0, l = 0, c = 1})
return answer("created", id)
