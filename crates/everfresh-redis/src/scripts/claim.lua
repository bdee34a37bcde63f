-- ARGV: now, seq, claim, the claim that it replaces (empty: none). Answers 1 if it is claimed.
local custody = custody_of(live())
if not custody or custody.seq ~= ARGV[2] then return 0 end
local free
if ARGV[4] == '' then
  free = custody.tries == 0
else
  free = custody.tries > 0 and custody.claim == ARGV[4]
end
if not free then return 0 end
redis.call('SETRANGE', KEYS[1], HEAD + 8,
  struct.pack('>I4', math.min(custody.tries + 1, NONE)) .. ARGV[3] .. milliseconds(now))
return 1
