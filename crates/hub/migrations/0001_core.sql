-- Who calls, what they own, and what was done. Ids are hyphenated UUIDs as TEXT, key ids and digests are lower-case hex,
-- moments are microseconds since 1970 in UTC, enumerations are their words on the wire. A table that belongs to a project
-- refers to it with ON DELETE CASCADE, so that deleting the project leaves no row of it.

-- What is true of this hub: its id, the version of its data.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    operator INTEGER NOT NULL CHECK (operator IN (0, 1)),
    created  INTEGER NOT NULL,
    disabled INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE account_keys (
    id         TEXT PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES accounts (id),
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    public_key BLOB NOT NULL,
    created    INTEGER NOT NULL,
    revoked    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX account_keys_by_account ON account_keys (account, id);

-- Receipt keys of vaults: callers known for one task only. A row is made when the task is claimed and goes when it ends.
CREATE TABLE vault_keys (
    id         TEXT PRIMARY KEY,
    task       TEXT NOT NULL,
    owner      TEXT NOT NULL REFERENCES accounts (id),
    public_key BLOB NOT NULL,
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX vault_keys_by_task ON vault_keys (task);

-- One-time codes that enrol a first key: the SHA-256 of the code, never the code. Without an account it makes an operator.
CREATE TABLE codes (
    hash    TEXT PRIMARY KEY,
    account TEXT REFERENCES accounts (id),
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Nonces of calls that were accepted, kept until their signature is too old to be accepted anyway.
CREATE TABLE nonces (
    key     TEXT NOT NULL,
    nonce   TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (key, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_by_expiry ON nonces (expires);

CREATE TABLE projects (
    id             TEXT PRIMARY KEY,
    custodian      TEXT NOT NULL,
    owner          TEXT NOT NULL REFERENCES accounts (id),
    label          BLOB NOT NULL,
    -- The digest of the call's body that made it: the same call again is a success, another one under this id is not.
    made_by        TEXT NOT NULL,
    created        INTEGER NOT NULL,
    readable_until INTEGER,
    -- Set before the first key is destroyed: nothing can be put in from then on, and a stopped deletion goes on.
    deleting       INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX projects_by_owner ON projects (owner, id);

-- Signed project cards, every number that ever was in force; the highest counts.
CREATE TABLE cards (
    project   TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    digest    TEXT NOT NULL,
    statement TEXT NOT NULL,
    signature BLOB NOT NULL,
    signer    BLOB NOT NULL,
    PRIMARY KEY (project, number)
) STRICT, WITHOUT ROWID;

-- Members besides the owner.
CREATE TABLE members (
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    account TEXT NOT NULL REFERENCES accounts (id),
    right   TEXT NOT NULL CHECK (right <> 'owner'),
    PRIMARY KEY (project, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_account ON members (account, project);

CREATE TABLE transfers (
    id      TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    giver   TEXT NOT NULL REFERENCES accounts (id),
    taker   TEXT NOT NULL REFERENCES accounts (id),
    reseal  INTEGER NOT NULL CHECK (reseal IN (0, 1)),
    state   TEXT NOT NULL,
    created INTEGER NOT NULL,
    ended   INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_open_offer ON transfers (project) WHERE state = 'offered';
CREATE INDEX transfers_by_giver ON transfers (giver, id);
CREATE INDEX transfers_by_taker ON transfers (taker, id);

-- Every act. No reference to what it names: an event outlives the thing. It holds ids and words of ours, never data.
CREATE TABLE events (
    id         TEXT PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    act        TEXT NOT NULL,
    object     TEXT NOT NULL,
    -- The project it belongs to, so that the project's owner sees it.
    project    TEXT,
    purpose    TEXT,
    outcome    TEXT NOT NULL,
    reason     TEXT,
    request_id TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX events_by_object ON events (object, id);
CREATE INDEX events_by_project ON events (project, id);
