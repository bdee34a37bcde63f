-- ARGV: now, from, to, key id, 1 if the user is active, 1 if claims follow, claims.
-- Answers 1 if it rotated.
local row = live()
if not row or row.generation ~= ARGV[2] then return 0 end
local again = ARGV[2] == ARGV[3]
if again and row.confirmed == 1 then return 0 end

local active = not again and ARGV[5] == '1'
local idle_expires = active and idle_end(row) or row.idle_expires
local changed = ARGV[3] .. ARGV[4] .. '\0' .. struct.pack('>I6I6', now, idle_expires)
if ARGV[6] == '1' then
  local value = redis.call('GET', KEYS[1])
  local claims, sealed = lengths(row)
  local before = HEAD
  if sealed ~= NONE then before = before + UPSTREAM + sealed end
  value = '\1' .. changed .. string.sub(value, 27, 61) .. struct.pack('>I4', #ARGV[7]) ..
    string.sub(value, 66, before) .. ARGV[7] .. string.sub(value, before + claims + 1)
  redis.call('SET', KEYS[1], value, 'KEEPTTL')
else
  redis.call('SETRANGE', KEYS[1], 1, changed)
end
if active then expire_at(idle_expires) end
return 1
