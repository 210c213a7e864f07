-- How people sign in with a browser. Beside the accounts rather than in them: an account that only ever signs calls has no row
-- here. Spelling as in 0001. Nothing here opens anything by itself: passwords are Argon2id digests, cookies and challenges are
-- kept as their SHA-256, passkeys are public keys.

-- By which name an account signs in with a password: lower case, one account each.
CREATE TABLE sign_in_names (
    name    TEXT PRIMARY KEY,
    account TEXT NOT NULL UNIQUE REFERENCES accounts (id)
) STRICT, WITHOUT ROWID;

-- With the costs under which each was made, so that they can be raised.
CREATE TABLE passwords (
    account    TEXT PRIMARY KEY REFERENCES accounts (id),
    memory_kib INTEGER NOT NULL,
    passes     INTEGER NOT NULL,
    salt       BLOB NOT NULL,
    digest     BLOB NOT NULL,
    changed    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Signed-in browsers, by the SHA-256 of their cookie. `id` is what pages call the row by.
CREATE TABLE browsers (
    hash    TEXT PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL REFERENCES accounts (id),
    way     TEXT NOT NULL,
    agent   TEXT NOT NULL,
    address TEXT,
    created INTEGER NOT NULL,
    -- When the person last proved to be there; some acts ask for that to be minutes ago.
    proved  INTEGER NOT NULL,
    seen    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX browsers_by_account ON browsers (account, id);

CREATE TABLE passkeys (
    id         TEXT PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES accounts (id),
    credential BLOB NOT NULL UNIQUE,
    -- The host name it was made for: a passkey counts for one.
    host       TEXT NOT NULL,
    -- As the authenticator wrote it (COSE_Key).
    public_key BLOB NOT NULL,
    counter    INTEGER NOT NULL,
    name       TEXT NOT NULL,
    created    INTEGER NOT NULL,
    used       INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX passkeys_by_account ON passkeys (account, id);

-- Sign-ins half-way: what was sent to a browser or an institution and must come back, once, from the same browser.
CREATE TABLE sign_in_tries (
    hash    TEXT PRIMARY KEY,
    kind    TEXT NOT NULL,
    -- The SHA-256 of the cookie of the browser that began.
    browser TEXT NOT NULL,
    body    TEXT NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_tries_by_expiry ON sign_in_tries (expires);

-- Who an institution's people are here.
CREATE TABLE institution_people (
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES accounts (id),
    created INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX institution_people_by_account ON institution_people (account);
