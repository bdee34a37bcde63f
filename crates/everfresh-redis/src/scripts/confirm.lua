-- ARGV: now, generation, 1 if the user is active.
local row = live()
if not row or row.generation ~= ARGV[2] then return 0 end
if ARGV[3] == '1' then
  local idle_expires = idle_end(row)
  redis.call('SETRANGE', KEYS[1], 13,
    '\1' .. struct.pack('>I6I6', row.rotated_at, idle_expires))
  expire_at(idle_expires)
elseif row.confirmed == 0 then
  redis.call('SETRANGE', KEYS[1], 13, '\1')
end
return 1
