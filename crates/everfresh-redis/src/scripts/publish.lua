-- ARGV: now, seq, the next seq, how long the access token lives, the tokens, 1 if claims follow,
-- claims. Answers 1 if the row still had the tokens that these replace.
local row = live()
local upstream = upstream_of(row)
if not upstream or upstream.seq ~= ARGV[2] then return 0 end
local value = redis.call('GET', KEYS[1])
local length, sealed = lengths(row)
local before = HEAD + UPSTREAM + sealed
local claims = string.sub(value, before + 1, before + length)
if ARGV[6] == '1' then claims = ARGV[7] end
redis.call('SET', KEYS[1],
  string.sub(value, 1, 61) .. struct.pack('>I4I4', #claims, #ARGV[5]) ..
  string.sub(value, 70, HEAD) .. ARGV[3] .. string.rep('\0', 20) ..
  struct.pack('>I6I6', now, now + tonumber(ARGV[4])) .. ARGV[5] .. claims ..
  string.sub(value, before + length + 1), 'KEEPTTL')
return 1
