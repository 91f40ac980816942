#!lua flags=allow-oom
-- A segment's audio is in the store; accepted only from the newest attempt. The last one makes
-- the assembly due. Audio made for the cache that comes too late is garbage.
-- ARGV: job, unit, attempt, result, digest of what was spoken or "" to keep it from the cache,
--       how long the cache may use it in ms, ms of a worker's time it took
-- Answers "accepted" | "repeated" | "stale" | "ended" | "gone".

local job, unit, text = load_job(ARGV[1]), ARGV[2], ARGV[4]
local digest, result = ARGV[5] ~= "" and ARGV[5] or nil, cjson.decode(ARGV[4])
local u, refusal = held_by(job, unit, tonumber(ARGV[3]))
if not u then
  local wasted = digest and refusal ~= "repeated" and not is_cached(digest, result.key)
  if wasted then discard(result.key, 0) end
  return refusal
end

if digest then
  text = publish(digest, text, tonumber(ARGV[6]))
  count("misses")
end
let_go(job, unit, u, digest)
complete(job, unit, u, digest, text)
redis.call("HINCRBY", job_key(job.id), "synthesis_ms", result.synthesis_ms)
note_pace(job.voice, "speak", u.c, tonumber(ARGV[7]))
make_assembly_due(job)
touch(job)
return "accepted"
