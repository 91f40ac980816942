-- A job's record and its place among those nobody has claimed from yet.
-- ARGV: job, tenant
-- Answers {position or -1, field, value, ...}, or {} when the tenant has no such job.

local job = load_job(ARGV[1])
if not job or job.tenant ~= ARGV[2] then return {} end
local record = redis.call("HGETALL", job_key(job.id))
local rank = redis.call("ZRANK", lane_key(job.voice, job.class, "queued"), job.id)
table.insert(record, 1, rank and rank + 1 or -1)
return record
