#!lua flags=allow-oom
-- A job's record, its place among those nobody has claimed from yet, and when it will be done.
-- ARGV: job, tenant
-- Answers {position or -1, ms until it starts or -1, ms until it is done or -1, field, value, ...}, or {} when the tenant has no such job.

local job = job_of(ARGV[2], ARGV[1])
if not job then return {} end
return job_record(job)
