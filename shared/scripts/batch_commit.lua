-- A batch is accepted: all its jobs are stored, from now on they become due.
-- Keys: lib/members.lua
-- ARGV: batch, tenant, its stem or "", how many inputs were left out, their faults or "",
--       subjects with their limits (lib/limits.lua), ms its first job may be expected to wait or ""
-- Answers {the batch's phase afterwards, or "gone"}, {"full", the limit that leaves no room} or
-- {"crowded", ms it would wait}: then it stays as it is.

local b = load_batch(ARGV[1], ARGV[2])
if not b or (ARGV[3] ~= "" and ARGV[3] ~= b.stem) then return {"gone"} end
if b.phase ~= "storing" then return {b.phase} end

local subjects, ids = cjson.decode(ARGV[6]), redis.call("ZRANGE", batch_key(b.id, b.tenant, "jobs"), 0, -1)
local n_chars = tonumber(redis.call("HGET", b.key, "n_chars"))
local _, full = weigh(subjects, #ids, n_chars, true)
if full then return {"full", full} end
local first = ARGV[7] ~= "" and ids[1] and load_job(ids[1])
local wait_ms = first and wait_of(first.voice, first.class, b.tenant, first.order)
if wait_ms and wait_ms > tonumber(ARGV[7]) then return {"crowded", math.floor(wait_ms + 0.5)} end
for _, id in ipairs(ids) do redis.call("HSET", job_key(id), "subjects", names_of(subjects)) end
count_batch(ids, names_of(subjects), n_chars)
count_spoken(subjects, n_chars)

b.phase = "releasing"
redis.call("HSET", b.key, "phase", b.phase, "n_rejected", ARGV[4],
  "n_total", #ids)
if ARGV[5] ~= "" then redis.call("SET", batch_key(b.id, b.tenant, "rejected"), ARGV[5]) end
redis.call("ZADD", P .. "batches:" .. b.tenant, redis.call("HGET", b.key, "created_ms"), b.id)
look_at_batch(b, now_ms())
settle_batch(b)
touch_batch(b)
return {b.phase}
