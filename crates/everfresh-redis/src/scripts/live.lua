-- ARGV: now, subject. Answers 1 if the session is not over and of that subject.
local row = live()
return row and subject_of(row.bytes) == ARGV[2] and 1 or 0
