-- How segments get their audio: rendered, from the cache, or from who renders the same just now.
--
-- cache:entries            HASH    digest -> "<ms it expires>|<result>"
-- cache:used               ZSET    digest -> ms it was last used
-- cache:bytes              STRING  size of all entries' objects
-- cache:users:<digest>     SET     jobs whose results point at the entry
-- cache:counts             HASH    hits, misses, evictions, since ever
-- rendering                HASH    digest -> "<job>|<unit>" that renders it
-- parked:<digest>          ZSET    "<job>|<unit>" that wait for it -> order; they are not due
-- unparking                HASH    digest nobody renders any more, with some still parked
--                                  -> the digest its audio came out under
-- released                 HASH    removed job -> "forget" | "keep"
-- released:<job>           SET     digests it used, not given back yet
--
-- What is parked has a holder in `rendering` or is named in `unparking`, so it never stays.

local UNPARKED_AT_ONCE = 100
local MOST_USERS = 1000 -- an entry with more of them counts as in use

local function users_key(digest)
  return P .. "cache:users:" .. digest
end

local function parked_key(digest)
  return P .. "parked:" .. digest
end

local function count(what)
  redis.call("HINCRBY", P .. "cache:counts", what, 1)
end

local function entry(digest)
  local text = redis.call("HGET", P .. "cache:entries", digest)
  if not text then return nil end
  local expires_ms, result = string.match(text, "^(%d+)|(.*)$")
  return result, tonumber(expires_ms) <= now_ms()
end

-- The result of a cached segment; an entry the store may have let go by its age is none.
local function cached(digest)
  local result, expired = entry(digest)
  return not expired and result or nil
end

-- Whether the cache points at this very object.
local function is_cached(digest, key)
  local result = entry(digest)
  return result and cjson.decode(result).key == key
end

-- The digest in the key of a cached segment's object.
local function digest_in(key)
  return string.match(key, "^segments/%x%x/(%x+)%-%x+%.flac$")
end

local function drop_entry(digest)
  local text = entry(digest)
  if not text then return end
  local result = cjson.decode(text)
  redis.call("HDEL", P .. "cache:entries", digest)
  redis.call("ZREM", P .. "cache:used", digest)
  redis.call("DEL", users_key(digest))
  redis.call("DECRBY", P .. "cache:bytes", result.size_bytes)
  discard(result.key, 0)
end

-- Keeps a rendered segment for others; answers the result to use, an earlier one if there is one.
local function publish(digest, text, lifetime_ms)
  local result, known = cjson.decode(text), cached(digest)
  if known then
    discard(result.key, 0)
    return known
  end
  drop_entry(digest)
  redis.call("HSET", P .. "cache:entries", digest,
    string.format("%.0f|%s", now_ms() + lifetime_ms, text))
  redis.call("INCRBY", P .. "cache:bytes", result.size_bytes)
  return text
end

-- A segment has its audio, `digest` where that lies in the cache.
local function complete(job, unit, u, digest, text)
  local results = job_key(job.id, "results")
  u.s, u.k = "done", digest
  save_unit(job.id, unit, u)
  redis.call("HSET", results, unit, text)
  redis.call("HSET", job_key(job.id), "segments_done", redis.call("HLEN", results))
  redis.call("HINCRBY", job_key(job.id), "audio_ms", cjson.decode(text).duration_ms)
  spoke(job, u.c)
  if tonumber(unit) == 0 then redis.call("HSETNX", job_key(job.id), "first_audio_ms", now_ms()) end
  if digest then
    redis.call("ZADD", P .. "cache:used", now_ms(), digest)
    redis.call("SADD", users_key(digest), job.id)
    redis.call("SADD", job_key(job.id, "digests"), digest)
  end
end

-- The audio of a segment is not to be used after all.
local function undo(job, unit, u)
  local results = job_key(job.id, "results")
  local text = redis.call("HGET", results, unit)
  if not text then return end
  redis.call("HDEL", results, unit)
  redis.call("HSET", job_key(job.id), "segments_done", redis.call("HLEN", results))
  redis.call("HINCRBY", job_key(job.id), "audio_ms", -cjson.decode(text).duration_ms)
  spoke(job, 0 - u.c)
  if u.h then redis.call("HINCRBY", job_key(job.id), "cached_segments", -1) end
  u.h = nil
end

-- Finishes a unit with what the cache has; answers whether it had it.
local function hit(job, unit, u)
  local text = u.k and cached(u.k)
  if not text then return false end
  u.h = 1
  complete(job, unit, u, u.k, text)
  redis.call("HINCRBY", job_key(job.id), "cached_segments", 1)
  count("hits")
  return true
end

-- Lets a due unit wait while another renders the same; answers whether one does.
local function park(job, unit, u)
  if not u.k or redis.call("HEXISTS", P .. "rendering", u.k) == 0 then return false end
  u.s = "parked"
  save_unit(job.id, unit, u)
  redis.call("ZADD", parked_key(u.k), due_order(job, unit), job.id .. "|" .. unit)
  return true
end

local function start_rendering(job, unit, u)
  if not u.k then return end
  redis.call("HSET", P .. "rendering", u.k, job.id .. "|" .. unit)
  redis.call("HDEL", P .. "unparking", u.k)
end

-- Some of those that waited for a digest are due: the next claim finds it in the cache, under the
-- digest the audio came out under, or renders it.
local function unpark(digest, known_as)
  local found = redis.call("ZPOPMIN", parked_key(digest), UNPARKED_AT_ONCE)
  for i = 1, #found, 2 do
    local id, unit = string.match(found[i], "^(.*)|(.*)$")
    local job, u = load_job(id), load_unit(id, unit)
    if job and job.active and u and u.s == "parked" and u.k == digest then
      u.k = known_as
      push_due(job, unit, u)
    end
  end
  if redis.call("EXISTS", parked_key(digest)) == 1 then
    redis.call("HSET", P .. "unparking", digest, known_as)
  else
    redis.call("HDEL", P .. "unparking", digest)
  end
end

-- Goes on with what one step could not unpark; answers whether there is more.
local function unpark_next()
  local digest = redis.call("HRANDFIELD", P .. "unparking")
  if not digest then return false end
  unpark(digest, redis.call("HGET", P .. "unparking", digest))
  return redis.call("EXISTS", P .. "unparking") == 1
end

function stop_rendering(job, unit, u, known_as)
  if not u.k or redis.call("HGET", P .. "rendering", u.k) ~= job.id .. "|" .. unit then return end
  redis.call("HDEL", P .. "rendering", u.k)
  unpark(u.k, known_as or u.k)
end

-- A book's digests are many: the keeper gives them back piece by piece.
function release_digests(job, forget)
  if redis.call("EXISTS", job_key(job.id, "digests")) == 0 then return end
  redis.call("RENAME", job_key(job.id, "digests"), P .. "released:" .. job.id)
  redis.call("HSET", P .. "released", job.id, forget and "forget" or "keep")
end

-- Whether a job needs an entry that is not over, or that may be run again.
local function in_use(digest)
  if redis.call("SCARD", users_key(digest)) > MOST_USERS then return true end
  for _, id in ipairs(redis.call("SMEMBERS", users_key(digest))) do
    local status = redis.call("HGET", job_key(id), "status")
    if status and status ~= "succeeded" then return true end
  end
  return false
end
