-- A planner stores segments, in order, as due; with the last of them the plan is done.
-- A later attempt repeats the same segments: what is equal stays, what differs starts anew.
-- ARGV: job, attempt, total of segments when these are the last or "", substitutions,
--       then unit, spec, characters for each segment
-- Answers "accepted" | "repeated" | "stale" | "ended" | "gone".

local job, attempt, total = load_job(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local plan, refusal = held_by(job, "plan", attempt)
if not plan then return refusal end

local specs, results = job_key(job.id, "specs"), job_key(job.id, "results")
for i = 5, #ARGV, 3 do
  local unit, spec = ARGV[i], ARGV[i + 1]
  if redis.call("HGET", specs, unit) ~= spec then
    local u = load_unit(job.id, unit) or {a = 0}
    let_go(job, unit)
    redis.call("HDEL", results, unit)
    redis.call("HSET", specs, unit, spec)
    push_due(job, unit, {a = u.a, e = 0, l = 0, c = tonumber(ARGV[i + 2])})
  end
end

if total then
  for _, unit in ipairs(redis.call("HKEYS", specs)) do
    if tonumber(unit) >= total then
      let_go(job, unit)
      redis.call("HDEL", specs, unit)
      redis.call("HDEL", results, unit)
      redis.call("HDEL", job_key(job.id, "units"), unit)
      drop_due(job.voice, job.class, job.tenant, job.id .. "|" .. unit)
    end
  end
  plan.s = "done"
  save_unit(job.id, "plan", plan)
  let_go(job, "plan")
  redis.call("HSET", job_key(job.id), "segments_total", total, "substitutions", ARGV[4],
    "segments_done", redis.call("HLEN", results))
  job.segments_total = total
  make_assembly_due(job)
  touch(job)
end
return "accepted"
