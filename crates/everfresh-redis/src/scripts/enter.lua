-- A session's place in the index of its subject. ARGV: now, sid, how long it may live.
-- Answers a few entries that are worth a look, if there are many.
local SLACK, MANY, LOOK = 86400000, 16, 4
local lives = tonumber(ARGV[3]) + SLACK
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + lives, ARGV[2])
if redis.call('PTTL', KEYS[1]) < lives then expire_at(now + lives) end
if redis.call('ZCARD', KEYS[1]) <= MANY then return {} end
return redis.call('ZRANDMEMBER', KEYS[1], LOOK)
