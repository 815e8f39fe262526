-- Who is in a channel.
--
-- KEYS  1 clients: id -> user and record ("3:ann..."; the number is the user's length)  2 expiries: ids by time
--       3 users: user -> number of clients, so that counting costs the same in a room of any size
-- ARGV  1 attend, leave, list or count
--       attend: 2 ttl (ms), then for each client its id, and user and record as above
--       leave:  2 id           list: 2 the most clients that are listed
local clients, expiries, users = KEYS[1], KEYS[2], KEYS[3]

local function user_of(entry)
  local from, to, length = string.find(entry, '^(%d+):')
  return from and string.sub(entry, to + 1, to + length)
end

local function remove(id)
  local entry = redis.call('HGET', clients, id)
  redis.call('ZREM', expiries, id)
  if not entry then return end
  redis.call('HDEL', clients, id)
  local user = user_of(entry)
  if user and redis.call('HINCRBY', users, user, -1) <= 0 then redis.call('HDEL', users, user) end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', string.format('%.0f', now))) do
  remove(id)
end

local function attend(ttl)
  local expiry = string.format('%.0f', now + ttl)
  for at = 3, #ARGV, 2 do
    local id, entry = ARGV[at], ARGV[at + 1]
    if redis.call('HSET', clients, id, entry) == 1 then redis.call('HINCRBY', users, user_of(entry), 1) end
    redis.call('ZADD', expiries, expiry, id)
  end
  for _, key in ipairs(KEYS) do
    if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
  end
end

if ARGV[1] == 'attend' then
  attend(tonumber(ARGV[2]))
elseif ARGV[1] == 'leave' then
  remove(ARGV[2])
elseif ARGV[1] == 'count' then
  return { redis.call('HLEN', clients), redis.call('HLEN', users) }
elseif redis.call('HLEN', clients) > tonumber(ARGV[2]) then
  return redis.call('HLEN', clients)
else
  return redis.call('HVALS', clients)
end
return 0
