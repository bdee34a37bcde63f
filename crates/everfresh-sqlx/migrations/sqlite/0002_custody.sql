-- Tokens of another server, sealed, and who is sending them. NULL where a session has none.
ALTER TABLE everfresh_sessions ADD COLUMN up_seq INTEGER;
ALTER TABLE everfresh_sessions ADD COLUMN up_tries INTEGER;
ALTER TABLE everfresh_sessions ADD COLUMN up_claim BLOB;
ALTER TABLE everfresh_sessions ADD COLUMN up_claimed_at INTEGER;
ALTER TABLE everfresh_sessions ADD COLUMN up_sealed BLOB;
ALTER TABLE everfresh_sessions ADD COLUMN up_expires INTEGER;
