-- The append-only log (spec/audit-log.md): every event is a leaf, in the order they were written. The leaf commits to the event; what
-- opens the commitment stands beside it.

CREATE TABLE audit_leaves (
    idx          INTEGER PRIMARY KEY,
    event        TEXT NOT NULL UNIQUE,
    commitment   BLOB NOT NULL,
    salt         BLOB NOT NULL,
    -- Who owned the thing then: the account, for whom the event is theirs; and the pseudonym that the leaf names.
    account      TEXT,
    owner        BLOB,
    -- Digest and salt of the purpose; the salt goes when the purpose is forgotten.
    purpose      BLOB,
    purpose_salt BLOB,
    approval     BLOB,
    evidence     BLOB,
    statement    BLOB
) STRICT;
CREATE INDEX audit_leaves_by_account ON audit_leaves (account, event);

-- What somebody did is theirs to see, whoever's thing it was.
CREATE INDEX events_by_actor ON events (actor, id);

-- Hashes of complete subtrees above the leaves. They never change.
CREATE TABLE audit_nodes (
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    hash  BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

-- Releases that were announced and have no outcome yet. What is here at a start was interrupted before its key left.
CREATE TABLE audit_intents (
    event TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- The newest checkpoint that each witness cosigned.
CREATE TABLE audit_cosignatures (
    witness TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    key     TEXT NOT NULL,
    size    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    note    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_cosignatures_by_account ON audit_cosignatures (account);

-- No statement of this program changes or removes a leaf. It is no defence against whoever has the file: that is what the
-- tree is for.
CREATE TRIGGER audit_leaves_stay BEFORE DELETE ON audit_leaves
BEGIN SELECT RAISE(ABORT, 'a leaf of the audit log is never removed'); END;
CREATE TRIGGER audit_leaves_are_fixed
BEFORE UPDATE OF idx, event, commitment, salt, account, owner, purpose, approval, evidence, statement ON audit_leaves
BEGIN SELECT RAISE(ABORT, 'a leaf of the audit log is never changed'); END;
CREATE TRIGGER audit_nodes_stay BEFORE DELETE ON audit_nodes
BEGIN SELECT RAISE(ABORT, 'a hash of the audit log is never removed'); END;
CREATE TRIGGER audit_nodes_are_fixed BEFORE UPDATE ON audit_nodes
BEGIN SELECT RAISE(ABORT, 'a hash of the audit log is never changed'); END;
