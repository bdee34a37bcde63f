-- ARGV: now, key id, idle lifetime, absolute lifetime, what follows the times in the head,
-- how long the upstream access token lives (empty: none), what follows the upstream tokens.
-- Answers 1, or 0 if the id is taken.
local absolute_expires = now + tonumber(ARGV[4])
local idle_expires = math.min(now + tonumber(ARGV[3]), absolute_expires)
local head = '\1' .. string.rep('\0', 8) .. ARGV[2] .. '\0' .. struct.pack('>I6I6I6I6I6',
  now, idle_expires, absolute_expires, tonumber(ARGV[3]), now) .. ARGV[5]
local upstream = ''
if ARGV[6] ~= '' then
  upstream = string.rep('\0', 28) .. struct.pack('>I6I6', now, now + tonumber(ARGV[6]))
end
if not redis.call('SET', KEYS[1], head .. upstream .. ARGV[7], 'NX') then return 0 end
expire_at(idle_expires)
return 1
