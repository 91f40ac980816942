#!lua flags=allow-oom
-- An assembler found a segment's audio gone from the store: the segment is due again, and the
-- assembly once more when it is done; a job whose audio keeps vanishing fails.
-- ARGV: job, attempt of the assembly, segment unit, times allowed, error
-- Answers "accepted" | "repeated" | "stale" | "ended" | "gone".

local job, unit = load_job(ARGV[1]), ARGV[3]
local assembly, refusal = held_by(job, "assemble", tonumber(ARGV[2]))
if not assembly then return refusal end

let_go(job, "assemble")
assembly.e = assembly.e + 1
if assembly.e >= tonumber(ARGV[4]) then
  assembly.s = "failed"
  save_unit(job.id, "assemble", assembly)
  end_job(job, "failed", ARGV[5])
  return "accepted"
end
assembly.s = nil
save_unit(job.id, "assemble", assembly)
local lost = load_unit(job.id, unit)
if redis.call("HDEL", job_key(job.id, "results"), unit) == 1 then spoke(job, 0 - lost.c) end
redis.call("HSET", job_key(job.id), "segments_done",
  redis.call("HLEN", job_key(job.id, "results")))
push_due(job, unit, lost)
touch(job)
return "accepted"
