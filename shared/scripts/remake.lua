-- An assembler found a segment's audio gone from the store: the segment is due again, and the
-- assembly once more when it is done.
-- ARGV: job, attempt of the assembly, segment unit
-- Answers "accepted" | "repeated" | "stale" | "gone".

local job, unit = load_job(ARGV[1]), ARGV[3]
local assembly, refusal = held_by(job, "assemble", tonumber(ARGV[2]))
if not assembly then return refusal end

let_go(job, "assemble")
assembly.s = nil
save_unit(job.id, "assemble", assembly)
redis.call("HDEL", job_key(job.id, "results"), unit)
redis.call("HSET", job_key(job.id), "segments_done",
  redis.call("HLEN", job_key(job.id, "results")))
push_due(job, unit, load_unit(job.id, unit))
touch(job)
return "accepted"
