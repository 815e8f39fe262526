-- Who is in a channel as a replica knows it; it changes nothing, so it leaves out whose time is up.
--
-- KEYS and ARGV as in presence.lua, of which only list and count are asked here.
local clients, expiries, users = KEYS[1], KEYS[2], KEYS[3]

local function user_of(entry)
  local from, to, length = string.find(entry, '^(%d+):')
  return from and string.sub(entry, to + 1, to + length)
end

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local is_gone, gone, gone_of = {}, 0, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', now)) do
  local entry = redis.call('HGET', clients, id)
  if entry then
    local user = user_of(entry) or ''
    is_gone[id], gone, gone_of[user] = true, gone + 1, (gone_of[user] or 0) + 1
  end
end
local count = redis.call('HLEN', clients) - gone

if ARGV[1] == 'count' then
  local user_count = redis.call('HLEN', users)
  for user, clients_gone in pairs(gone_of) do
    if tonumber(redis.call('HGET', users, user) or 0) == clients_gone then user_count = user_count - 1 end
  end
  return { count, user_count }
end
if count > tonumber(ARGV[2]) then return count end
local listed, all = {}, redis.call('HGETALL', clients)
for at = 1, #all, 2 do
  if not is_gone[all[at]] then listed[#listed + 1] = all[at + 1] end
end
return listed
