-- ARGV: now, seq, claim, the claim that it replaced (empty: none), when that was made. Answers 1
-- if it was there.
local custody = custody_of(live())
if not custody or custody.seq ~= ARGV[2] then return 0 end
if custody.tries == 0 or custody.claim ~= ARGV[3] then return 0 end
local changed = struct.pack('>I4', custody.tries - 1)
if custody.tries == 1 then
  changed = changed .. string.rep('\0', 16)
elseif ARGV[4] ~= '' then
  changed = changed .. ARGV[4] .. milliseconds(tonumber(ARGV[5]))
end
redis.call('SETRANGE', KEYS[1], HEAD + 8, changed)
return 1
