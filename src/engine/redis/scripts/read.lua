-- Where a stream stands, and a range of it. A stream that never was begins here; so does one that lost what was
-- sent of it already, or that ends behind its own newest offset.
--
-- KEYS  1 meta  2 stream
-- ARGV  1 epoch of a stream that begins  2 ttl of the meta (ms)  3 epoch of what was sent, or ''  4 its offset
--       5 XRANGE, XREVRANGE or ''  6 from  7 to  8 count
-- Gives epoch, offset, whether it lost something (1), and the entries.
local meta, stream = KEYS[1], KEYS[2]

-- Decimal numbers, exact beyond 2^53.
local function is_greater(number, than)
  return #number > #than or (#number == #than and number > than)
end

local known = redis.call('HMGET', meta, 'e', 's')
local epoch, offset, lost = known[1], known[2] or '0', 0
if epoch then
  if epoch == ARGV[3] and is_greater(ARGV[4], offset) then lost = 1 end
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if newest then
    local id = string.match(newest[1], '^(%d+)')
    if is_greater(id, offset) then lost = 1 end
  end
end
if not epoch or lost == 1 then
  redis.call('DEL', stream, meta)
  redis.call('HSET', meta, 'e', ARGV[1], 's', '0')
  epoch, offset = ARGV[1], '0'
end
redis.call('PEXPIRE', meta, ARGV[2])
local entries = {}
if ARGV[5] ~= '' then
  entries = redis.call(ARGV[5], stream, ARGV[6], ARGV[7], 'COUNT', ARGV[8])
end
return { epoch, offset, lost, entries }
