-- Cases (`spec/cases.md`). What is said in one is sealed under a key of its own, which lies wrapped in its row; what stands
-- here in clear is what lists show without the customer's key.
CREATE TABLE cases (
    -- Rows are numbered: the hashes of an index name them by the million.
    number       INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    project      TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    organization TEXT NOT NULL REFERENCES organizations (id),
    status       TEXT NOT NULL,
    -- How often the document was written.
    version      INTEGER NOT NULL,
    made_by      TEXT NOT NULL,
    concluded_by TEXT,
    -- The case key as the organization keeps it; emptied before anything else of a case goes.
    key          BLOB,
    document     BLOB NOT NULL,
    created      INTEGER NOT NULL,
    changed      INTEGER NOT NULL,
    closed       INTEGER
) STRICT;
CREATE INDEX cases_by_project ON cases (project, id);
CREATE INDEX cases_by_organization ON cases (organization, number);

-- Samples and results that belong to a case.
CREATE TABLE case_datasets (
    number  INTEGER NOT NULL REFERENCES cases (number) ON DELETE CASCADE,
    dataset TEXT NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    PRIMARY KEY (number, dataset)
) STRICT, WITHOUT ROWID;
CREATE INDEX case_datasets_by_dataset ON case_datasets (dataset);

-- Who read what of which case, and why. The event and its leaf say the rest.
CREATE TABLE case_reads (
    event        TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    purpose      TEXT NOT NULL,
    fields       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX case_reads_by_organization ON case_reads (organization, event);

-- What an organization wants of its cases.
CREATE TABLE case_rules (
    organization  TEXT PRIMARY KEY REFERENCES organizations (id),
    second_person INTEGER NOT NULL CHECK (second_person IN (0, 1))
) STRICT, WITHOUT ROWID;
