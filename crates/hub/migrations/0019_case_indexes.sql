-- Versions of the indexes of searchable fields (`spec/cases.md` section 5). `cursor` is the row up to which what was there
-- before is hashed, kept in the transaction of the hashes.
CREATE TABLE case_indexes (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    organization TEXT NOT NULL REFERENCES organizations (id),
    field        TEXT NOT NULL,
    version      INTEGER NOT NULL,
    -- Bits of a beacon; nothing for an exact index.
    bits         INTEGER,
    state        TEXT NOT NULL,
    cursor       INTEGER NOT NULL DEFAULT 0,
    done         INTEGER NOT NULL DEFAULT 0,
    total        INTEGER NOT NULL,
    since        INTEGER NOT NULL,
    UNIQUE (organization, field, version)
) STRICT;

-- Keyed hashes of values, and the rows of cases that have them.
CREATE TABLE case_hashes (
    idx    INTEGER NOT NULL,
    hash   BLOB NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (idx, hash, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX case_hashes_by_number ON case_hashes (number);
