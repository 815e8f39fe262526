-- Sends a publication that is not kept, once for each idempotency key.
--
-- KEYS  1 result      ARGV  1 topic  2 record  3 ttl of the result (ms)  4 PUBLISH or SPUBLISH
if redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[3]) then
  redis.call(ARGV[4], ARGV[1], 'p' .. ARGV[2])
end
return ''
