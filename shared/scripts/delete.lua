#!lua flags=allow-oom
-- A job's record is removed; one that still runs is canceled first. Its objects are garbage, with
-- those cached segments that no other job uses.
-- ARGV: job, tenant
-- Answers "accepted" | "gone".

local job = job_of(ARGV[2], ARGV[1])
if not job then return "gone" end
if job.active then end_job(job, "canceled") end
purge(job, true)
return "accepted"
