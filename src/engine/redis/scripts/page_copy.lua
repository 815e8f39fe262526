-- A range of a stream as a replica has it; it changes nothing. Gives nil where the master may know better: no stream,
-- another epoch than was asked about, a position that the replica has not come to, or a stream ahead of its meta.
--
-- KEYS  1 meta  2 stream
-- ARGV  1 epoch that was asked about, or ''  2 offset, or ''  3 XRANGE, XREVRANGE or ''  4 from  5 to  6 count
-- Gives epoch, offset, 0 and the entries, as read.lua does.
local meta, stream = KEYS[1], KEYS[2]

-- Decimal numbers, exact beyond 2^53.
local function is_greater(number, than)
  return #number > #than or (#number == #than and number > than)
end

local known = redis.call('HMGET', meta, 'e', 's')
local epoch, offset = known[1], known[2] or '0'
if not epoch or (ARGV[1] ~= '' and ARGV[1] ~= epoch) or is_greater(ARGV[2], offset) then return false end
local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
if newest and is_greater(string.match(newest[1], '^(%d+)'), offset) then return false end
local entries = {}
if ARGV[3] ~= '' then
  entries = redis.call(ARGV[3], stream, ARGV[4], ARGV[5], 'COUNT', ARGV[6])
end
return { epoch, offset, 0, entries }
