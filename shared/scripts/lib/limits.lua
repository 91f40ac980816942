-- How much a subject may have: a tenant, or one of its keys. Every job counts for both.
--
-- active:<subject>, active:<subject>:chars   see farm.lua
-- spoken:<subject>:<day>    STRING  characters accepted on that day, UTC, counted from 1970
-- requests:<key|tenant>     STRING  requests in the minute that began with the first of them
--
-- A subject's limits come as JSON: {name, jobs, chars, daily_chars}; 0 is no limit.

local DAY_MS = 86400000
local ENDED_KEY_MS = 30 * DAY_MS -- a key that ended is still told so long

local function spoken_key(name)
  return P .. "spoken:" .. name .. ":" .. string.format("%d", math.floor(now_ms() / DAY_MS))
end

-- What a subject has used of each of its limits: {limit, allowed, used, ms until used is 0 or -1}.
local function usage(subject)
  local rows = {}
  if subject.jobs > 0 then
    rows[1] = {"jobs", subject.jobs, redis.call("SCARD", active_key(subject.name)), -1}
  end
  if subject.chars > 0 then
    local used = tonumber(redis.call("GET", active_key(subject.name) .. ":chars") or 0)
    rows[#rows + 1] = {"chars", subject.chars, used, -1}
  end
  if subject.daily_chars > 0 then
    local used = tonumber(redis.call("GET", spoken_key(subject.name)) or 0)
    rows[#rows + 1] = {"daily_chars", subject.daily_chars, used, DAY_MS - now_ms() % DAY_MS}
  end
  return rows
end

-- What every one of the subjects has used, each row with the subject's name before it, and the
-- first row that has no room for so many jobs and characters; `daily` is whether these count again.
local function weigh(subjects, n_jobs, n_chars, daily)
  local rows, full = {}, nil
  for _, subject in ipairs(subjects) do
    for _, row in ipairs(usage(subject)) do
      local needed = row[1] == "jobs" and n_jobs or n_chars
      if row[1] == "daily_chars" and not daily then needed = 0 end
      table.insert(row, 1, subject.name)
      rows[#rows + 1] = row
      if needed > 0 and row[4] + needed > row[3] then full = full or row end
    end
  end
  return rows, full
end

local function names_of(subjects)
  local names = {}
  for i, subject in ipairs(subjects) do names[i] = subject.name end
  return table.concat(names, " ")
end

-- A job counts as under way for each of its subjects, named with spaces between, until it ends.
local function count_active(id, names, n_chars)
  for name in string.gmatch(names or "", "%S+") do
    if redis.call("SADD", active_key(name), id) == 1 then
      redis.call("INCRBY", active_key(name) .. ":chars", n_chars)
    end
  end
end

-- The jobs of a batch count all at once; each gives its own back when it ends.
local function count_batch(ids, names, n_chars)
  for name in string.gmatch(names, "%S+") do
    for first = 1, #ids, 1000 do
      redis.call("SADD", active_key(name), unpack(ids, first, math.min(#ids, first + 999)))
    end
    redis.call("INCRBY", active_key(name) .. ":chars", n_chars)
  end
end

local function count_spoken(subjects, n_chars)
  for _, subject in ipairs(subjects) do
    local spoken = spoken_key(subject.name)
    redis.call("INCRBY", spoken, n_chars)
    redis.call("PEXPIRE", spoken, 2 * DAY_MS)
  end
end
