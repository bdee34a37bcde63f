-- ARGV: now. Answers the time and the value.
if not live() then return false end
return { now, redis.call('GET', KEYS[1]) }
