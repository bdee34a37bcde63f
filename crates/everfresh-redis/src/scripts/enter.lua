-- A session's place in the index of its subject. ARGV: now, sid, how long it may live.
-- Answers a few entries that are worth a look, if there are many.
local SLACK, MANY, LOOK = 86400000, 16, 4
local lifetime = tonumber(ARGV[3]) + SLACK
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + lifetime, ARGV[2])
if redis.call('PTTL', KEYS[1]) < lifetime then expire_at(now + lifetime) end
if redis.call('ZCARD', KEYS[1]) <= MANY then return {} end
return redis.call('ZRANDMEMBER', KEYS[1], LOOK)
