-- ARGV: now, 1 if the session has to be of the subject that follows, subject.
-- Answers the session's subject if there was one.
local value = redis.call('GET', KEYS[1])
if not value then return false end
local claims, sealed, length = struct.unpack('>I4I4I4', value, 62)
local before = HEAD + claims
if sealed ~= NONE then before = before + CUSTODY + sealed end
local subject = string.sub(value, before + 1, before + length)
if ARGV[2] == '1' and subject ~= ARGV[3] then return false end
redis.call('DEL', KEYS[1])
return subject
