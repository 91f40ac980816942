-- A batch and its jobs. Every status a job takes is counted in its batch by the same script, so the
-- counts are the jobs' states at any moment; the last job to end ends the batch.
--
-- batch:record:<batch>:<tenant>    HASH   id, tenant, stem, phase, fingerprint, idempotency_key,
--                                         webhook_url, retention_ms, metadata, n_total, n_<status>,
--                                         n_deleted, n_chars, n_rejected, audio_ms, audio_bytes,
--                                         definition, round, version, created_ms, started_ms,
--                                         canceled_ms, finished_ms, expires_ms; cursor: how far
--                                         batch_step.lua has come; told: the same for the messages
--                                         of its jobs' ends, once its retention has ended
-- batch:jobs:<batch>:<tenant>      ZSET   job -> its number among the inputs
-- batch:rejected:<batch>:<tenant>  STRING the faults of the inputs that were left out
-- batch:key:<tenant>:<key>         STRING batch
-- batches:<tenant>                 ZSET   accepted batch -> created ms
-- batches:work                     ZSET   "<batch>|<tenant>" -> ms at which the keeper looks at it
--
-- Phases: storing (its jobs are being written, none is due) -> releasing (accepted; its jobs become
-- due piece by piece) -> open -> leaving (removed piece by piece; callers see it no more).

local function batch_key(batch, tenant, part)
  return P .. "batch:" .. part .. ":" .. batch .. ":" .. tenant
end

local function look_at_batch(b, at_ms)
  redis.call("ZADD", P .. "batches:work", at_ms, b.id .. "|" .. b.tenant)
end

local function load_batch(id, tenant)
  local key = batch_key(id, tenant, "record")
  local v = redis.call("HMGET", key, "phase", "n_queued", "n_running", "finished_ms", "canceled_ms",
    "retention_ms", "webhook_url", "round", "stem", "cursor", "fingerprint", "idempotency_key",
    "expires_ms", "n_canceled")
  if not v[1] then return nil end
  return {id = id, tenant = tenant, key = key, phase = v[1], n_active = v[2] + v[3],
    finished_ms = tonumber(v[4] or nil), canceled = v[5] and true or false,
    retention_ms = tonumber(v[6]), webhook_url = v[7], round = tonumber(v[8]), stem = v[9],
    cursor = tonumber(v[10]), fingerprint = v[11], idempotency_key = v[12],
    expires_ms = tonumber(v[13] or nil), n_canceled = tonumber(v[14])}
end

local function touch_batch(b)
  local version = redis.call("HINCRBY", b.key, "version", 1)
  redis.call("PUBLISH", P .. "events", "batch:" .. b.id .. ":" .. b.tenant .. "|" .. version)
end

-- A tenant's job, as its callers may see and change it; not those of a batch that is not accepted
-- yet, or is being removed.
local function job_of(tenant, id)
  local job = load_job(id)
  if not job or job.tenant ~= tenant then return nil end
  if not job.batch then return job end
  local phase = redis.call("HGET", batch_key(job.batch, tenant, "record"), "phase")
  return (phase == "releasing" or phase == "open") and job or nil
end

local function batch_message_id(b)
  return "msg_" .. b.stem .. "_batch" .. (b.round > 0 and "_" .. b.round or "")
end

local function post_batch(b)
  if b.webhook_url == "" then return end
  local status = b.canceled and b.n_canceled > 0 and "canceled" or "completed"
  write_delivery(batch_message_id(b), "batch", b.id, b.tenant,
    {event = "completed", url = b.webhook_url, status = status})
end

-- An accepted batch none of whose jobs is active has ended; one that had ended goes on.
local function settle_batch(b)
  if b.phase ~= "releasing" and b.phase ~= "open" then return end
  if b.n_active == 0 and not b.finished_ms then
    local now = now_ms()
    b.expires_ms = now + b.retention_ms
    redis.call("HSET", b.key, "finished_ms", now, "expires_ms", b.expires_ms)
    if b.phase == "open" then look_at_batch(b, b.expires_ms) end -- else it is still looked at
    post_batch(b)
  elseif b.n_active > 0 and b.finished_ms then
    redis.call("HDEL", b.key, "finished_ms", "expires_ms", "canceled_ms", "told")
    redis.call("HINCRBY", b.key, "round", 1)
    if b.phase == "open" then
      redis.call("ZREM", P .. "batches:work", b.id .. "|" .. b.tenant)
    end
  end
end

-- `to` is a status or "deleted". Deleting is the only way out of "succeeded".
count_in_batch = function(job, from, to)
  if not job.batch then return end
  local key = batch_key(job.batch, job.tenant, "record")
  if redis.call("EXISTS", key) == 0 then return end
  redis.call("HINCRBY", key, "n_" .. from, -1)
  redis.call("HINCRBY", key, "n_" .. to, 1)
  if to == "running" then redis.call("HSETNX", key, "started_ms", now_ms()) end
  local sign = to == "succeeded" and 1 or from == "succeeded" and -1 or 0
  if sign ~= 0 then
    local v = redis.call("HMGET", job_key(job.id), "audio_ms", "audio")
    redis.call("HINCRBY", key, "audio_ms", string.format("%.0f", sign * tonumber(v[1])))
    local size = cjson.decode(v[2]).size_bytes
    redis.call("HINCRBY", key, "audio_bytes", string.format("%.0f", sign * size))
  end
  if to == "deleted" then
    redis.call("ZREM", batch_key(job.batch, job.tenant, "jobs"), job.id)
  end
  local b = load_batch(job.batch, job.tenant)
  settle_batch(b)
  touch_batch(b)
end
