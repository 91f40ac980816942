-- What the scripts of the webhook outbox share; `post` in farm.lua writes the first record.
--
-- delivery:<id>            HASH   id, job, tenant, event, url, status, attempts, created_ms,
--                                 job_status; base: attempts made before the last replay;
--                                 reported: last attempt with an outcome; next_ms; finished_ms
-- delivery:<id>:tries      LIST   {attempt, at_ms, status_code | error, duration_ms}
-- deliveries:due           ZSET   delivery -> due ms
-- deliveries:sending       ZSET   delivery -> lease's end ms
-- deliveries:of:<tenant>   ZSET   delivery -> created ms
-- deliveries:busy:<gate>   ZSET   deliveries on their way through a gate -> lease's end ms
-- deliveries:crowd:<gate>  ZSET   due, but the gate has all it may have at once -> due ms
-- deliveries:crowded       SET    gates with a crowd
-- deliveries:answered:<nonce>  STRING  "<delivery>|<attempt>" that a claim answered, for a minute
-- deliveries:ended         HASH   delivered | dead -> how many are so
--
-- A delivery's gates are its receiver's host and "tenant <name>".

local MOST_TRIES = 50 -- kept in one delivery's log

local function delivery_key(id, part)
  return P .. "delivery:" .. id .. (part and (":" .. part) or "")
end

local function outbox_key(...)
  return P .. "deliveries:" .. table.concat({...}, ":")
end

-- The receiver, for the limit on what it gets at once; it is the same with its scheme's own port and
-- with the root's dot as without them.
local function host_of(url)
  local scheme, authority = string.match(string.lower(url), "^(%a[%w+.-]*)://([^/?#]*)")
  if not scheme then return url end
  local host, port = string.match(authority, "^(.*):(%d*)$")
  host, port = string.gsub(host or authority, "%.$", ""), tonumber(port)
  if not port or port == (scheme == "https" and 443 or 80) then return host end
  return host .. ":" .. port
end

local function load_delivery(id)
  if string.find(id, ":", 1, true) then return nil end -- the name of a part of one
  local v = redis.call("HMGET", delivery_key(id), "status", "attempts", "base", "reported", "url",
    "tenant")
  if not v[1] then return nil end
  return {id = id, status = v[1], attempts = tonumber(v[2]), base = tonumber(v[3] or 0),
    reported = tonumber(v[4] or 0), tenant = v[6], gates = {host_of(v[5]), "tenant " .. v[6]}}
end

-- One of those that wait at a gate is due again, at its old place.
local function admit(gate)
  while true do
    local first = redis.call("ZPOPMIN", outbox_key("crowd", gate))
    if not first[1] then
      redis.call("SREM", outbox_key("crowded"), gate)
      return
    end
    if redis.call("HGET", delivery_key(first[1]), "status") == "due" then
      redis.call("ZADD", outbox_key("due"), first[2], first[1])
      return
    end
  end
end

-- An attempt is over: its outcome goes into the log, its places at the gates to the next ones.
local function log_try(d, try)
  try.attempt, try.at_ms = d.attempts, now_ms()
  local tries = delivery_key(d.id, "tries")
  redis.call("RPUSH", tries, cjson.encode(try))
  redis.call("LTRIM", tries, -MOST_TRIES, -1)
  redis.call("HSET", delivery_key(d.id), "reported", d.attempts)
  redis.call("ZREM", outbox_key("sending"), d.id)
  for _, gate in ipairs(d.gates) do
    redis.call("ZREM", outbox_key("busy", gate), d.id)
    admit(gate)
  end
end

local function make_due(d, at_ms)
  redis.call("HSET", delivery_key(d.id), "status", "due", "next_ms", at_ms)
  redis.call("ZADD", outbox_key("due"), at_ms, d.id)
end

-- Names of records that have gone by themselves leave the tenant's index: the oldest, and some by
-- chance, for those of a dead receiver live longest and come to stand before all others.
local function trim_index(tenant)
  local index = outbox_key("of", tenant)
  for _, ids in ipairs({redis.call("ZRANGE", index, 0, 9), redis.call("ZRANDMEMBER", index, 10)}) do
    for _, id in ipairs(ids) do
      if redis.call("EXISTS", delivery_key(id)) == 0 then redis.call("ZREM", index, id) end
    end
  end
end

local function end_delivery(d, status, keep_ms)
  redis.call("HSET", delivery_key(d.id), "status", status, "finished_ms", now_ms())
  redis.call("HDEL", delivery_key(d.id), "next_ms")
  redis.call("PEXPIRE", delivery_key(d.id), keep_ms)
  redis.call("PEXPIRE", delivery_key(d.id, "tries"), keep_ms)
  redis.call("HINCRBY", outbox_key("ended"), status, 1)
  trim_index(d.tenant)
end

local function delivery_record(id)
  return {redis.call("HGETALL", delivery_key(id)),
    redis.call("LRANGE", delivery_key(id, "tries"), 0, -1)}
end
