-- The first card of another owner, as the owner before signed it: JSON of a signed statement.
ALTER TABLE cards ADD COLUMN handover TEXT;

-- A project on its way into other hands. Nothing of it counts before it is finished.
CREATE TABLE handovers (
    project  TEXT PRIMARY KEY REFERENCES projects (id) ON DELETE CASCADE,
    approval TEXT NOT NULL,
    -- The digest of the approval, for the leaf of its end.
    digest   TEXT NOT NULL,
    card     TEXT NOT NULL,
    -- The offer, where it is another person's.
    transfer TEXT REFERENCES transfers (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Dataset keys as whoever is next will hold them, at the place that each is bound to.
CREATE TABLE handover_keys (
    project TEXT NOT NULL REFERENCES handovers (project) ON DELETE CASCADE,
    dataset TEXT NOT NULL,
    epoch   INTEGER NOT NULL,
    card    TEXT NOT NULL,
    kept    BLOB NOT NULL,
    PRIMARY KEY (project, dataset)
) STRICT, WITHOUT ROWID;
