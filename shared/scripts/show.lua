#!lua flags=allow-oom
-- A job's record, its place among those nobody has claimed from yet, and when it will be done.
-- ARGV: job, tenant
-- Answers {position or -1, ms until it starts or -1, ms until it is done or -1, field, value, ...}, or {} when the tenant has no such job.

local job = load_job(ARGV[1])
if not job or job.tenant ~= ARGV[2] then return {} end
return job_record(job)
