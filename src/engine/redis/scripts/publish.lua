-- Gives a publication the next offset of its channel, keeps it and sends it, in one step.
--
-- KEYS  1 meta: epoch and newest offset (e, s), version and its epoch (v, w)   2 stream   3 result (or the meta)
-- ARGV  1 topic  2 record  3 size of the stream  4 its ttl  5 ttl of the meta (ms)  6 epoch of a stream that begins
--       7 ttl of the result (ms), or ''  8 version, or ''  9 its epoch  10 PUBLISH or SPUBLISH
--       11 epoch of what is known to be in the stream, or ''  12 its offset
-- Gives epoch and offset in one text: "abcdefgh42".
local meta, stream, result = KEYS[1], KEYS[2], KEYS[3]

local function begin()
  redis.call('DEL', stream, meta)
  redis.call('HSET', meta, 'e', ARGV[6])
  return ARGV[6]
end

-- Numbers of Lua are exact up to 2^53; these may be greater.
local function is_newer(number, than)
  return #number > #than or (#number == #than and number > than)
end

if ARGV[7] ~= '' then
  local before = redis.call('GET', result)
  if before then return before end
end

local known = redis.call('HMGET', meta, 'e', 's', 'v', 'w')
local epoch = known[1] or begin()
if epoch == ARGV[11] and is_newer(ARGV[12], known[2] or '0') then
  -- It lost what it had confirmed.
  known, epoch = {}, begin()
end
if known[1] and known[3] and ARGV[8] ~= '' then
  local is_comparable = ARGV[9] == '' or ARGV[9] == known[4]
  if is_comparable and not is_newer(ARGV[8], known[3]) then return epoch .. (known[2] or '0') end
end

local function append()
  local offset = string.format('%.0f', redis.call('HINCRBY', meta, 's', 1))
  return offset, redis.pcall('XADD', stream, 'MAXLEN', ARGV[3], offset, 'd', ARGV[2])
end

local offset, added = append()
if type(added) == 'table' and added.err then
  -- Somebody else wrote to the stream, and its order is theirs.
  epoch = begin()
  offset, added = append()
  if type(added) == 'table' and added.err then return added end
end
redis.call('PEXPIRE', stream, ARGV[4])
redis.call('PEXPIRE', meta, ARGV[5])
if ARGV[8] ~= '' then redis.call('HSET', meta, 'v', ARGV[8], 'w', ARGV[9]) end
local position = epoch .. offset
if ARGV[7] ~= '' then redis.call('SET', result, position, 'PX', ARGV[7]) end
redis.call(ARGV[10], ARGV[1], 's' .. position .. ':' .. ARGV[2])
return position
