-- Ends a stream, and its version with it. Gives 1 if anything was ever published to it; one to which nothing was
-- stays, since others may hold its position.
--
-- KEYS  1 meta  2 stream
local offset = redis.call('HGET', KEYS[1], 's')
if not offset or offset == '0' then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
