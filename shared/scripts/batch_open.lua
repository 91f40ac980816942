-- A batch is begun, or the one this key or id began before is found. None of its jobs is there yet.
-- Keys: lib/members.lua
-- ARGV: batch, tenant, stem (its jobs' names begin with it; its own name too where the caller chose
--       none), idempotency key or "", fingerprint,
--       webhook url or "", retention ms, metadata, ms after which it is given up unless it is fed,
--       what another service's dialect asked, as JSON, or "", subjects with their limits
--       (lib/limits.lua), how many jobs and characters it will have, is there room for a new one 0|1
-- Answers {"created" | phase | "conflict" | "no_room", batch, stem}, or {"full", the limit that leaves no room, ""}
-- before anything is stored.

local id, tenant, key, fingerprint = ARGV[1], ARGV[2], ARGV[4], ARGV[5]
local kept = P .. "batch:key:" .. tenant .. ":" .. key

local function earlier(other)
  local b = load_batch(other, tenant)
  if not b then return nil end
  local same = b.fingerprint == fingerprint and (other == id or id == ARGV[3])
  if b.phase ~= "leaving" and not same then return {"conflict", other, ""} end
  return {b.phase, other, b.stem}
end

local other = key ~= "" and redis.call("GET", kept)
local found = other and earlier(other)
if found then return found end
found = earlier(id) -- by its id alone: another key of its own would outlive it
if found then return found end

if ARGV[14] == "0" then return {"no_room", id, ""} end
local _, full = weigh(cjson.decode(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]), true)
if full then return {"full", full, ""} end

redis.call("HSET", batch_key(id, tenant, "record"), "id", id, "tenant", tenant, "stem", ARGV[3],
  "phase", "storing", "fingerprint", fingerprint, "idempotency_key", key, "webhook_url", ARGV[6],
  "retention_ms", ARGV[7], "metadata", ARGV[8], "n_total", 0, "n_queued", 0, "n_running", 0,
  "n_succeeded", 0, "n_failed", 0, "n_canceled", 0, "n_expired", 0, "n_deleted", 0, "n_chars", 0,
  "n_rejected", 0, "audio_ms", 0, "audio_bytes", 0, "round", 0, "version", 1,
  "created_ms", now_ms(), "cursor", 0, "definition", ARGV[10])
if key ~= "" then redis.call("SET", kept, id) end
look_at_batch({id = id, tenant = tenant}, now_ms() + tonumber(ARGV[9]))
return {"created", id, ARGV[3]}
