-- ARGV: now. Answers the session's value if there was one.
local value = redis.call('GET', KEYS[1])
if value then redis.call('DEL', KEYS[1]) end
return value
