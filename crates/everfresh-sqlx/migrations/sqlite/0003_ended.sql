-- Sessions that were ended, for other processes on this file: kept for as long as an access token of
-- theirs may be shown. Times are milliseconds since 1970.
CREATE TABLE everfresh_ended (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    ended_at INTEGER NOT NULL,
    sid BLOB NOT NULL CHECK (length(sid) = 16)
) STRICT;
