"""Lua that Redis runs in one step, so that a killed client leaves no half of it behind.

Keys of a queue: the stream of messages; a hash, message id → bytes of its body; the sum of these; the dead letters.
"""

_SHARED = """
local stream, sizes, total, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function append(body)
  local id = redis.call('XADD', stream, '*', 'body', body)
  redis.call('HSET', sizes, id, #body)
  redis.call('INCRBY', total, #body)
  return id
end

local function remove(id)
  local removed = redis.call('XDEL', stream, id)
  if removed == 1 then
    redis.call('DECRBY', total, redis.call('HGET', sizes, id) or 0)
    redis.call('HDEL', sizes, id)
  end
  return removed
end

local function full(size, messages, bytes)
  local held = redis.call('XLEN', stream)
  return held >= tonumber(messages) or (held > 0 and tonumber(redis.call('GET', total) or 0) + size > tonumber(bytes))
end

local function finish(group, id)
  redis.call('XACK', stream, group, id)
  return remove(id)
end
"""

# group, body, most messages, most bytes, 1 to drop the oldest, largest age in ms → id (or false when full), dropped
PUBLISH = (
    _SHARED
    + """
local group, body, messages, bytes, drop, age = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local dropped = 0
if drop == '1' then
  local handed_out = '0-0'
  for _, one in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if one[2] == group then handed_out = one[8] end
  end
  local now = redis.call('TIME')
  local oldest = tonumber(age) > 0 and now[1] * 1000 + now[2] / 1000 - age or 0
  while true do
    local first = redis.call('XRANGE', stream, '(' .. handed_out, '+', 'COUNT', 1)[1]
    if not first then break end
    if not full(#body, messages, bytes) and tonumber(string.match(first[1], '%d+')) >= oldest then break end
    remove(first[1])
    dropped = dropped + 1
  end
elseif full(#body, messages, bytes) then
  return {false, 0}
end
return {append(body), dropped}
"""
)

# bytes of a body, most messages, most bytes → 1 where there is room for it
ROOM = (
    _SHARED
    + """
return full(ARGV[1], ARGV[2], ARGV[3]) and 0 or 1
"""
)

# group, ids…
ACKNOWLEDGE = (
    _SHARED
    + """
for place = 2, #ARGV do finish(ARGV[1], ARGV[place]) end
"""
)

# group: what was handed out at a time that is yet to come, since the clock was set back, is taken as handed out now
STEADY = (
    _SHARED
    + """
for _, one in ipairs(redis.call('XPENDING', stream, ARGV[1], '-', '+', 100000)) do
  if one[3] == 0 then redis.call('XCLAIM', stream, ARGV[1], one[2], 0, one[1], 'IDLE', 0, 'JUSTID') end
end
"""
)

# group, id, bodies…
SPLIT = (
    _SHARED
    + """
if finish(ARGV[1], ARGV[2]) == 1 then
  for place = 3, #ARGV do append(ARGV[place]) end
end
"""
)

# group, id, reason, most dead letters, bodies… → dropped
DEAD_LETTER = (
    _SHARED
    + """
local dropped = 0
if finish(ARGV[1], ARGV[2]) == 1 then
  for place = 5, #ARGV do redis.call('XADD', dead, '*', 'body', ARGV[place], 'reason', ARGV[3]) end
  while redis.call('XLEN', dead) > tonumber(ARGV[4]) do
    redis.call('XDEL', dead, redis.call('XRANGE', dead, '-', '+', 'COUNT', 1)[1][1])
    dropped = dropped + 1
  end
end
return dropped
"""
)

# ids of dead letters… → how many there were
REDRIVE = (
    _SHARED
    + """
local found = 0
for _, id in ipairs(ARGV) do
  for _, letter in ipairs(redis.call('XRANGE', dead, id, id)) do
    append(letter[2][2])
    found = found + redis.call('XDEL', dead, id)
  end
end
return found
"""
)
