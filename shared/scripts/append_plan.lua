-- A planner stores segments, in order, as due, or as done where the cache has them; with the last
-- of them the plan is done. A later attempt repeats the same segments: what is equal stays, what
-- differs starts anew.
-- ARGV: job, attempt, total of segments when these are the last or "", substitutions,
--       then unit, spec, characters, digest or "" for each segment
-- Answers "accepted" | "repeated" | "stale" | "ended" | "gone".

local job, attempt, total = load_job(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local plan, refusal = held_by(job, "plan", attempt)
if not plan then return refusal end

local specs = job_key(job.id, "specs")

-- What an earlier attempt stored under this name counts no more.
local function forget(unit, old)
  let_go(job, unit, old)
  undo(job, unit, old)
  redis.call("HINCRBY", job_key(job.id), "planned_chars", 0 - old.c)
end

local function store(unit, spec, n_chars, digest)
  local old = load_unit(job.id, unit)
  local u = {a = old and old.a or 0, e = 0, l = 0, c = n_chars, k = digest ~= "" and digest or nil}
  if old then
    forget(unit, old)
    drop_due(job.voice, job.class, job.tenant, job.id .. "|" .. unit)
  end
  redis.call("HSET", specs, unit, spec)
  redis.call("HINCRBY", job_key(job.id), "planned_chars", n_chars)
  if not hit(job, unit, u) then push_due(job, unit, u) end
end

local function remove(unit)
  local old = load_unit(job.id, unit)
  forget(unit, old)
  redis.call("HDEL", specs, unit)
  redis.call("HDEL", job_key(job.id, "units"), unit)
  drop_due(job.voice, job.class, job.tenant, job.id .. "|" .. unit)
end

local n_done = redis.call("HLEN", job_key(job.id, "results"))
for i = 5, #ARGV, 4 do
  if redis.call("HGET", specs, ARGV[i]) ~= ARGV[i + 1] then
    store(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3])
  end
end
local news = redis.call("HLEN", job_key(job.id, "results")) ~= n_done

if total then
  local index = total
  while redis.call("HEXISTS", specs, segment_name(index)) == 1 do
    remove(segment_name(index))
    index = index + 1
  end
  plan.s = "done"
  save_unit(job.id, "plan", plan)
  let_go(job, "plan")
  leave_line(job)
  redis.call("HSET", job_key(job.id), "segments_total", total, "substitutions", ARGV[4])
  join_line(job) -- now that the plan says what is left
  job.segments_total = total
  post(job, "logs")
  make_assembly_due(job)
end
if total or news then touch(job) end
return "accepted"
