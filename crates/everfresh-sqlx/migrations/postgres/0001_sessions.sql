-- One row per session, however often it is rotated. Times are milliseconds since 1970, by this
-- server's clock. Eight bytes first and what varies last, so that nothing is lost to alignment.
CREATE TABLE everfresh_sessions (
    generation bigint NOT NULL,
    key_id bigint NOT NULL,
    rotated_at bigint NOT NULL,
    created_at bigint NOT NULL,
    idle_expires bigint NOT NULL,
    absolute_expires bigint NOT NULL,
    idle_lifetime bigint NOT NULL,
    -- When a sweep looks at the row: never later than its end, and not moved by rotations.
    look_at bigint NOT NULL,
    -- Tokens of another server, sealed, and who is sending them. NULL where a session has none.
    up_seq bigint,
    up_tries bigint,
    up_claimed_at bigint,
    up_expires bigint,
    confirmed boolean NOT NULL,
    persistent boolean NOT NULL,
    sid bytea NOT NULL PRIMARY KEY CHECK (octet_length(sid) = 16),
    salt bytea NOT NULL CHECK (octet_length(salt) = 16),
    -- UTF-8 that may hold NUL, which text may not.
    subject bytea NOT NULL,
    claims text NOT NULL,
    attributes text NOT NULL,
    up_claim bytea,
    up_sealed bytea
-- No index holds what a rotation changes, so that with room left on its page a row's new version
-- goes beside the old one and no index is written (HOT).
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX everfresh_sessions_by_subject ON everfresh_sessions (subject);

CREATE INDEX everfresh_sessions_by_look ON everfresh_sessions (look_at);
