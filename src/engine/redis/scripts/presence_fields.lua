-- Who is in a channel, where the server ends fields of a hash by itself (Redis 7.4, Valkey 9.0).
--
-- KEYS  1 clients: id -> user and record, as in presence.lua  2 users: user -> number of clients
-- ARGV  as in presence.lua
-- A client whose time is up is not counted off its user, who is there until the user's own time is up: never too
-- short, since each of its clients prolongs it.
local clients, users = KEYS[1], KEYS[2]

local function user_of(entry)
  local from, to, length = string.find(entry, '^(%d+):')
  return from and string.sub(entry, to + 1, to + length)
end

local function attend(ttl)
  for at = 3, #ARGV, 2 do
    local id, entry = ARGV[at], ARGV[at + 1]
    local user = user_of(entry)
    if redis.call('HSET', clients, id, entry) == 1 then redis.call('HINCRBY', users, user, 1) end
    redis.call('HPEXPIRE', clients, ttl, 'FIELDS', 1, id)
    redis.call('HPEXPIRE', users, ttl, 'FIELDS', 1, user)
  end
end

local function leave(id)
  local entry = redis.call('HGET', clients, id)
  if not entry then return end
  redis.call('HDEL', clients, id)
  local user = user_of(entry)
  if user and redis.call('HINCRBY', users, user, -1) <= 0 then redis.call('HDEL', users, user) end
  if redis.call('HLEN', clients) == 0 then redis.call('DEL', users) end
end

if ARGV[1] == 'attend' then
  attend(ARGV[2])
elseif ARGV[1] == 'leave' then
  leave(ARGV[2])
elseif ARGV[1] == 'count' then
  return { redis.call('HLEN', clients), redis.call('HLEN', users) }
elseif redis.call('HLEN', clients) > tonumber(ARGV[2]) then
  return redis.call('HLEN', clients)
else
  return redis.call('HVALS', clients)
end
return 0
