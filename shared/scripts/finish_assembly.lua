#!lua flags=allow-oom
-- A job's audio, and its captions if it has any, are in the store; the job has succeeded.
-- ARGV: job, attempt, audio, audio ms, captions or "", the audio's format, ms of a worker's time it took
-- Answers {"accepted" | "repeated" | "stale" | "ended" | "gone", ms from submit to the first segment's audio}.

local job = load_job(ARGV[1])
local u, refusal = held_by(job, "assemble", tonumber(ARGV[2]))
if not u then return {refusal, 0} end
u.s = "done"
save_unit(job.id, "assemble", u)
redis.call("HSET", job_key(job.id), "audio", ARGV[3], "audio_ms", ARGV[4])
if ARGV[5] ~= "" then redis.call("HSET", job_key(job.id), "captions", ARGV[5]) end
local chars = tonumber(redis.call("HGET", job_key(job.id), "planned_chars") or 0)
note_pace(job.voice, "join", chars, tonumber(ARGV[7]))
note_pace(job.voice, "join_" .. ARGV[6], chars, tonumber(ARGV[7]))
end_job(job, "succeeded")
local times = redis.call("HMGET", job_key(job.id), "created_ms", "first_audio_ms")
return {"accepted", tonumber(times[2] or times[1]) - tonumber(times[1])}
