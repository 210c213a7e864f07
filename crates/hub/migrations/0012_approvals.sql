-- What owners are asked for, and what they answered. The hub relays both: keys in an answer are sealed to a vault.

-- One request for each project of an owner that a claimed task reads or writes; the claim of another vault makes new ones.
CREATE TABLE approvals (
    id        TEXT PRIMARY KEY,
    task      TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    project   TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- The vault that waits: a later vault of the same task gets nothing of it.
    vault_key TEXT NOT NULL,
    evidence  TEXT NOT NULL,
    state     TEXT NOT NULL,
    reason    TEXT,
    -- The approval and the card that it was checked against, as JSON: they show later who wrote the task's results.
    approval  TEXT,
    card      TEXT,
    digest    TEXT,
    -- The released keys as JSON, until the task has ended.
    keys      TEXT,
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    answered  INTEGER,
    UNIQUE (task, project, vault_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX approvals_by_project ON approvals (project, id);
CREATE INDEX approvals_by_state ON approvals (state, expires);

-- An approval counts once in the life of a project, also after its request is gone.
CREATE TABLE approval_nonces (
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    nonce   TEXT NOT NULL,
    PRIMARY KEY (project, nonce)
) STRICT, WITHOUT ROWID;
