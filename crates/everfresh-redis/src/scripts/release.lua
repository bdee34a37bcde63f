-- ARGV: now, seq, reservation, the reservation that it replaced (empty: none), when
-- that was made. Answers 1 if the reservation was there.
local upstream = upstream_of(live())
if not upstream or upstream.seq ~= ARGV[2] then return 0 end
if upstream.tries == 0 or upstream.reservation ~= ARGV[3] then return 0 end
local changed = struct.pack('>I4', upstream.tries - 1)
if upstream.tries == 1 then
  changed = changed .. string.rep('\0', 16)
elseif ARGV[4] ~= '' then
  changed = changed .. ARGV[4] .. milliseconds(tonumber(ARGV[5]))
end
redis.call('SETRANGE', KEYS[1], HEAD + 8, changed)
return 1
