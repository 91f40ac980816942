-- A tenant's deliveries with their tries, newest first, from after the one the cursor names.
-- Keys: lib/outbox.lua
-- ARGV: tenant, how many, the cursor's created ms or "+inf", the cursor's delivery or "",
--       a status or "" for all
-- Answers {records, next cursor's ms or "", next cursor's delivery or ""}; a page of one status may
-- have fewer records than asked for, even none, and more to come.

local MOST_LOOKED_AT = 1000

local index, limit = outbox_key("of", ARGV[1]), tonumber(ARGV[2])
local n_read = math.max(200, limit + 1)
local records, last_ms, last_id, offset = {}, "", "", 0
local last_score = ARGV[3] ~= "+inf" and tonumber(ARGV[3]) or nil
while true do
  local rows = redis.call("ZREVRANGEBYSCORE", index, ARGV[3], "-inf", "WITHSCORES", "LIMIT", offset,
    n_read)
  for i = 1, #rows, 2 do
    local id, score = rows[i], rows[i + 1]
    -- Names of the same millisecond come in falling order.
    local passed = last_score and tonumber(score) == last_score and id >= ARGV[4]
    local status = not passed and redis.call("HGET", delivery_key(id), "status")
    if status and (ARGV[5] == "" or ARGV[5] == status) then
      if #records == limit then return {records, last_ms, last_id} end
      records[#records + 1] = delivery_record(id)
      last_ms, last_id = score, id
    end
  end
  if #rows < 2 * n_read then return {records, "", ""} end
  offset = offset + n_read
  if offset >= MOST_LOOKED_AT then return {records, rows[#rows], rows[#rows - 1]} end
end
