-- The approval by which an owner took what a vault wrote as their own, where no approval had named the vault before.
CREATE TABLE dataset_writers (
    dataset  TEXT NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    -- The digest of the manifest that it is for: a later one by another key needs another approval.
    manifest TEXT NOT NULL,
    approval TEXT NOT NULL,
    card     TEXT NOT NULL,
    PRIMARY KEY (dataset, manifest)
) STRICT, WITHOUT ROWID;

-- A dataset's key as its owner wrapped it to somebody else's words. It is of no use for another epoch.
CREATE TABLE dataset_shares (
    dataset  TEXT NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    account  TEXT NOT NULL REFERENCES accounts (id),
    key      TEXT NOT NULL,
    approval TEXT NOT NULL,
    created  INTEGER NOT NULL,
    PRIMARY KEY (dataset, account)
) STRICT, WITHOUT ROWID;
