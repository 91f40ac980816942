-- Jobs of a batch are written; nobody can claim them before the batch is accepted. Jobs that are
-- there already stay as they are, so a batch that was stored in part is stored on.
-- Keys: lib/members.lua
-- ARGV: batch, tenant, its stem or "", ms after which the batch is given up, then number, rank,
--       text and the record as JSON (name, value, ...) for each job
-- Answers the batch's phase, or "gone". Only a "storing" batch takes jobs.

local b = load_batch(ARGV[1], ARGV[2])
if not b or (ARGV[3] ~= "" and ARGV[3] ~= b.stem) then return "gone" end
if b.phase ~= "storing" then return b.phase end

local n_new, n_chars = 0, 0
for i = 5, #ARGV, 4 do
  local id = string.format("%s-%05d", b.stem, ARGV[i])
  if redis.call("ZADD", batch_key(b.id, b.tenant, "jobs"), "NX", ARGV[i], id) == 1 then
    store_job(id, tonumber(ARGV[i + 1]), ARGV[i + 2], cjson.decode(ARGV[i + 3]))
    save_unit(id, "plan", {a = 0, e = 0, l = 0, c = 1})
    n_new = n_new + 1
    n_chars = n_chars + redis.call("HGET", job_key(id), "n_chars")
  end
end
redis.call("HINCRBY", b.key, "n_queued", n_new)
redis.call("HINCRBY", b.key, "n_chars", n_chars)
look_at_batch(b, now_ms() + tonumber(ARGV[4]))
return b.phase
