-- Instruments, who is signed on at them, and machines that ask for a key.

-- An instrument is an account that no person has: its key is one of `account_keys`, and it is a member of nothing.
ALTER TABLE accounts ADD COLUMN kind TEXT NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'instrument'));

-- The outside app that a key was given to, in its own words.
ALTER TABLE account_keys ADD COLUMN app_name TEXT;
ALTER TABLE account_keys ADD COLUMN app_publisher TEXT;

-- In whose name an instrument makes runs, and until when.
CREATE TABLE sign_ons (
    instrument TEXT PRIMARY KEY REFERENCES accounts (id),
    technician TEXT NOT NULL REFERENCES accounts (id),
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Requests of devices: the SHA-256 of the short code, never the code. They are gone ten minutes after they were made.
CREATE TABLE device_codes (
    hash       TEXT PRIMARY KEY,
    -- The key that asks, one request at a time.
    key        TEXT NOT NULL UNIQUE,
    public_key BLOB NOT NULL,
    machine    TEXT NOT NULL,
    address    TEXT,
    -- What is asked, and what the key is to be limited to, as they cross the wire.
    asks       TEXT NOT NULL,
    key_limit  TEXT,
    state      TEXT NOT NULL,
    created    INTEGER NOT NULL,
    expires    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Wrong codes that an account named, so that nobody tries them all.
CREATE TABLE code_guesses (
    account TEXT NOT NULL REFERENCES accounts (id),
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX code_guesses_by_account ON code_guesses (account, at);
