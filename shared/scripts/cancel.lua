#!lua flags=allow-oom
-- A job is canceled; what is being rendered stops at its next beat.
-- ARGV: job, tenant
-- Answers "accepted" | "repeated" | "ended" | "gone".

local job = job_of(ARGV[2], ARGV[1])
if not job then return "gone" end
if job.status == "canceled" then return "repeated" end
if not job.active then return "ended" end
end_job(job, "canceled")
return "accepted"
