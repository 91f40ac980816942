-- A job that did not succeed runs again: only what is not done becomes due.
-- Repeating a call with the same nonce changes nothing and is accepted too: its answer was lost.
-- ARGV: job, tenant, deadline ms or "", subjects with their limits (lib/limits.lua), nonce
-- Answers {"accepted" | "active" | "ended" | "worn" | "gone"}, or {"full", the limit that leaves no room} as
-- in submit.lua. Its characters count as under way again, not again for the day.

local MOST_ROUNDS = 20 -- each of them tells the job's receiver of its end

local job = job_of(ARGV[2], ARGV[1])
if not job then return {"gone"} end
if redis.call("HGET", job_key(job.id), "retried_by") == ARGV[5] then return {"accepted"} end
if job.active then return {"active"} end
if job.status == "succeeded" then return {"ended"} end
if job.round >= MOST_ROUNDS then return {"worn"} end

local subjects = cjson.decode(ARGV[4])
local n_chars = tonumber(redis.call("HGET", job_key(job.id), "n_chars"))
local _, full = weigh(subjects, 1, n_chars, false)
if full then return {"full", full} end

local started = job.started_ms and true or false
count_in_batch(job, job.status, started and "running" or "queued")
job.status, job.active = started and "running" or "queued", true
redis.call("HSET", job_key(job.id), "status", job.status, "subjects", names_of(subjects),
  "retried_by", ARGV[5])
count_active(job.id, names_of(subjects), n_chars)
redis.call("HDEL", job_key(job.id), "finished_ms", "expires_ms", "error")
redis.call("HINCRBY", job_key(job.id), "round", 1)
redis.call("ZREM", P .. "retention", job.id)
if ARGV[3] ~= "" then redis.call("ZADD", P .. "deadlines", now_ms() + tonumber(ARGV[3]), job.id) end
join_line(job)
if not started then
  redis.call("ZADD", lane_key(job.voice, job.class, "queued"), job.order, job.id)
end
for _, unit in ipairs({"plan", "assemble"}) do
  local u = load_unit(job.id, unit)
  if u and u.s ~= "done" then
    u.e, u.l, u.x, u.v, u.s = 0, 0, nil, nil, nil
    if unit == "plan" then
      push_due(job, unit, u)
    else
      save_unit(job.id, unit, u) -- it waits for the segments
    end
  end
end
revive(job, 0)
make_assembly_due(job)
touch(job)
return {"accepted"}
