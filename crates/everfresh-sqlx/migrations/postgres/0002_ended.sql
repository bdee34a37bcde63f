-- Sessions that were ended, for nodes that were away: kept for as long as an access token of theirs
-- may be shown. Times are milliseconds since 1970, by this server's clock.
CREATE TABLE everfresh_ended (
    ended_at bigint NOT NULL,
    sid bytea NOT NULL CHECK (octet_length(sid) = 16)
);

CREATE INDEX everfresh_ended_by_time ON everfresh_ended (ended_at);
