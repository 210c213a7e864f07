-- What strangers can have kept, bounded by where they come from.

-- A challenge to a passkey carries what the hub must know of it, under a MAC: nothing is kept of those that are out. Of those
-- that were answered, the SHA-256 until their time is over.
DROP TABLE sign_in_tries;
CREATE TABLE answered_challenges (
    hash    TEXT PRIMARY KEY,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX answered_challenges_by_expiry ON answered_challenges (expires);

-- From which place and network a device asks, as limits count them; of an instrument's sign-on neither, since it is known.
ALTER TABLE device_codes ADD COLUMN place TEXT;
ALTER TABLE device_codes ADD COLUMN network TEXT;
CREATE INDEX device_codes_by_place ON device_codes (state, place);
CREATE INDEX device_codes_by_expiry ON device_codes (expires);

-- Where a person is signed on.
CREATE INDEX sign_ons_by_technician ON sign_ons (technician);
