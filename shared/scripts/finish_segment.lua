#!lua flags=allow-oom
-- A segment's audio is in the store; accepted only from the newest attempt. The last one makes
-- the assembly due.
-- ARGV: job, unit, attempt, result, audio ms, synthesis ms, ms of a worker's time it took
-- Answers "accepted" | "repeated" | "stale" | "ended" | "gone".

local job, unit = load_job(ARGV[1]), ARGV[2]
local u, refusal = held_by(job, unit, tonumber(ARGV[3]))
if not u then return refusal end

u.s = "done"
save_unit(job.id, unit, u)
let_go(job, unit)
local results = job_key(job.id, "results")
redis.call("HSET", results, unit, ARGV[4])
redis.call("HSET", job_key(job.id), "segments_done", redis.call("HLEN", results))
redis.call("HINCRBY", job_key(job.id), "audio_ms", ARGV[5])
redis.call("HINCRBY", job_key(job.id), "synthesis_ms", ARGV[6])
if tonumber(unit) == 0 then redis.call("HSETNX", job_key(job.id), "first_audio_ms", now_ms()) end
spoke(job, u.c)
note_pace(job.voice, "speak", u.c, tonumber(ARGV[7]))
make_assembly_due(job)
touch(job)
return "accepted"
