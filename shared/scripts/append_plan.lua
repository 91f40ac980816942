-- A planner stores segments, in order, as due; with the last of them the plan is done.
-- A later attempt repeats the same segments: what is equal stays, what differs starts anew.
-- ARGV: job, attempt, total of segments when these are the last or "", substitutions,
--       then unit, spec, characters for each segment
-- Answers "accepted" | "repeated" | "stale" | "ended" | "gone".

local job, attempt, total = load_job(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local plan, refusal = held_by(job, "plan", attempt)
if not plan then return refusal end

local specs, results = job_key(job.id, "specs"), job_key(job.id, "results")

-- What an earlier attempt stored under this name counts no more.
local function forget(unit)
  local u = load_unit(job.id, unit)
  if not u then return {a = 0} end
  let_go(job, unit)
  redis.call("HINCRBY", job_key(job.id), "planned_chars", 0 - u.c)
  if redis.call("HDEL", results, unit) == 1 then spoke(job, 0 - u.c) end
  return u
end

for i = 5, #ARGV, 3 do
  local unit, spec = ARGV[i], ARGV[i + 1]
  if redis.call("HGET", specs, unit) ~= spec then
    local attempts, chars = forget(unit).a, tonumber(ARGV[i + 2])
    redis.call("HSET", specs, unit, spec)
    redis.call("HINCRBY", job_key(job.id), "planned_chars", chars)
    push_due(job, unit, {a = attempts, e = 0, l = 0, c = chars})
  end
end

if total then
  for _, unit in ipairs(redis.call("HKEYS", specs)) do
    if tonumber(unit) >= total then
      forget(unit)
      redis.call("HDEL", specs, unit)
      redis.call("HDEL", job_key(job.id, "units"), unit)
      drop_due(job.voice, job.class, job.tenant, job.id .. "|" .. unit)
    end
  end
  plan.s = "done"
  save_unit(job.id, "plan", plan)
  let_go(job, "plan")
  leave_line(job)
  redis.call("HSET", job_key(job.id), "segments_total", total, "substitutions", ARGV[4],
    "segments_done", redis.call("HLEN", results))
  join_line(job) -- now that the plan says what is left
  job.segments_total = total
  make_assembly_due(job)
  touch(job)
end
return "accepted"
