-- ARGV: now, seq, reservation, the reservation that it replaces (empty: none). Answers
-- 1 if the tokens are reserved.
local upstream = upstream_of(live())
if not upstream or upstream.seq ~= ARGV[2] then return 0 end
local free
if ARGV[4] == '' then
  free = upstream.tries == 0
else
  free = upstream.tries > 0 and upstream.reservation == ARGV[4]
end
if not free then return 0 end
redis.call('SETRANGE', KEYS[1], HEAD + 8,
  struct.pack('>I4', math.min(upstream.tries + 1, NONE)) .. ARGV[3] .. milliseconds(now))
return 1
