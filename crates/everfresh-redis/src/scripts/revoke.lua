-- ARGV: now, 1 if the session has to be of the subject that follows, subject.
-- Answers 1 and the subject of the session that was ended; 0 where there was none; 2 where it is
-- of another subject, and goes on.
local bytes = redis.call('GETRANGE', KEYS[1], 0, HEAD - 1)
if #bytes < HEAD then return { 0, '' } end
local subject = subject_of(bytes)
if ARGV[2] == '1' and subject ~= ARGV[3] then return { 2, '' } end
redis.call('DEL', KEYS[1])
return { 1, subject }
