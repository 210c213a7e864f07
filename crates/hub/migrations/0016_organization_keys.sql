-- Keys that organizations hold themselves: where, how they stand, and what was wrapped under them. Nothing here opens
-- anything without the customer's key; the credentials that ask for it are sealed under the operator's.

CREATE TABLE organization_services (
    organization   TEXT PRIMARY KEY REFERENCES organizations (id),
    -- The key and where it is, as JSON without credentials.
    service        TEXT NOT NULL,
    -- Which pair of acts wraps in Azure.
    operations     TEXT NOT NULL,
    -- A key under the operator's, and the credentials sealed under it.
    sealed_key     BLOB NOT NULL,
    credentials    BLOB NOT NULL,
    lease_seconds  INTEGER NOT NULL,
    unattested     INTEGER NOT NULL CHECK (unattested IN (0, 1)),
    secret_expires INTEGER,
    -- The customer's offline key, to which recovery copies are sealed.
    recovery       TEXT,
    -- What set-up saw that should be seen to, as a JSON list of sentences.
    warnings       TEXT NOT NULL,
    -- How the key stands, why, since when, and when that was seen last.
    standing       TEXT NOT NULL,
    trouble        TEXT,
    since          INTEGER NOT NULL,
    checked        INTEGER,
    changed        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE organization_keys (
    organization TEXT NOT NULL REFERENCES organizations (id),
    purpose      TEXT NOT NULL,
    version      INTEGER NOT NULL,
    -- The wrapped key with the name of the customer's key that wrapped it, as JSON.
    wrapped      TEXT NOT NULL,
    -- To what outsiders wrap, of a recipient key.
    recipient    BLOB,
    made         INTEGER NOT NULL,
    -- It sealed to the customer's offline key, and when the customer said that the copy is in hand.
    recovery     BLOB,
    stored       INTEGER,
    PRIMARY KEY (organization, purpose, version)
) STRICT, WITHOUT ROWID;

-- Where the salt of a field's index lies in the customer's store of secrets, and which index key goes with it.
CREATE TABLE organization_salts (
    organization TEXT NOT NULL REFERENCES organizations (id),
    field        TEXT NOT NULL,
    version      INTEGER NOT NULL,
    index_key    INTEGER NOT NULL,
    place        TEXT NOT NULL,
    made         INTEGER NOT NULL,
    PRIMARY KEY (organization, field, version)
) STRICT, WITHOUT ROWID;

-- Rotations: what is wrapped anew, how far it is, and after which id it goes on.
CREATE TABLE organization_rotations (
    organization TEXT NOT NULL REFERENCES organizations (id),
    number       INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    target       INTEGER NOT NULL,
    done         INTEGER NOT NULL DEFAULT 0,
    total        INTEGER NOT NULL,
    position     TEXT NOT NULL DEFAULT '',
    began        INTEGER NOT NULL,
    ended        INTEGER,
    PRIMARY KEY (organization, number)
) STRICT, WITHOUT ROWID;
