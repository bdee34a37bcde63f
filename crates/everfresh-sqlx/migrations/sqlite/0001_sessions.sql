-- One row per session, however often it is rotated. Times are milliseconds since 1970.
CREATE TABLE everfresh_sessions (
    sid BLOB NOT NULL PRIMARY KEY CHECK (length(sid) = 16),
    subject TEXT NOT NULL,
    generation INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    confirmed INTEGER NOT NULL,
    rotated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    idle_expires INTEGER NOT NULL,
    absolute_expires INTEGER NOT NULL,
    idle_lifetime INTEGER NOT NULL,
    persistent INTEGER NOT NULL,
    claims TEXT NOT NULL,
    attributes TEXT NOT NULL,
    salt BLOB NOT NULL CHECK (length(salt) = 16)
) STRICT, WITHOUT ROWID;

CREATE INDEX everfresh_sessions_by_subject ON everfresh_sessions (subject, rotated_at DESC);

CREATE INDEX everfresh_sessions_by_end ON everfresh_sessions (idle_expires);
