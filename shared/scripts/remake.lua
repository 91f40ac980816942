#!lua flags=allow-oom
-- An assembler found audio of segments gone from the store: they are due again, and the assembly
-- once more when they are done; a job whose audio keeps vanishing fails. What lies behind the last
-- report is the rest of a long list, not a loss anew.
-- ARGV: job, attempt of the assembly, times allowed, error, then segment unit and the key that is
--       gone for each, in order
-- Answers "accepted" | "repeated" | "stale" | "ended" | "gone".

local job = load_job(ARGV[1])
local assembly, refusal = held_by(job, "assemble", tonumber(ARGV[2]))
if not assembly then return refusal end

local function make_anew(unit, key)
  local u = load_unit(job.id, unit)
  if u.k and is_cached(u.k, key) then drop_entry(u.k) end
  undo(job, unit, u)
  push_due(job, unit, u)
end

let_go(job, "assemble")
local rest = assembly.r and tonumber(ARGV[5]) > assembly.r
assembly.r = tonumber(ARGV[#ARGV - 1])
if not rest then assembly.e = assembly.e + 1 end
local gives_up = assembly.e >= tonumber(ARGV[3])
assembly.s = gives_up and "failed" or nil
save_unit(job.id, "assemble", assembly)
for i = 5, #ARGV, 2 do make_anew(ARGV[i], ARGV[i + 1]) end
if gives_up then
  end_job(job, "failed", ARGV[4])
else
  touch(job)
end
return "accepted"
