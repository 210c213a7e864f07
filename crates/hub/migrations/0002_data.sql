-- Datasets, their sealed objects and manifests, apps, sessions and the tasks of vaults. Spelling as in 0001, except that the
-- objects of a dataset, of which there are millions, are named by bytes.

CREATE TABLE datasets (
    id              TEXT PRIMARY KEY,
    kind            TEXT NOT NULL,
    project         TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    owner           TEXT NOT NULL REFERENCES accounts (id),
    -- The key that made it: the one whose manifests count, besides the owner's others and the vault of its task.
    writer          TEXT NOT NULL,
    label           BLOB NOT NULL,
    settings        BLOB,
    execution       TEXT NOT NULL,
    reason          TEXT,
    quality         TEXT NOT NULL,
    delivery        TEXT NOT NULL,
    parent          TEXT,
    session         TEXT,
    task            TEXT,
    reads           INTEGER,
    epoch           INTEGER NOT NULL,
    card_digest     TEXT NOT NULL,
    -- Of the epoch in force, kept with the rows of `objects` in one transaction.
    objects         INTEGER NOT NULL DEFAULT 0,
    sealed_bytes    INTEGER NOT NULL DEFAULT 0,
    manifest_number INTEGER NOT NULL DEFAULT 0,
    -- The digest of the call's body that made it: the same call again is a success, another one under this id is not.
    made_by         TEXT NOT NULL,
    created         INTEGER NOT NULL,
    changed         INTEGER NOT NULL,
    -- Set before the first key is destroyed: nothing can be put in from then on, and a stopped deletion goes on.
    deleting        INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX datasets_by_project ON datasets (project, id);
CREATE INDEX datasets_by_kind ON datasets (kind, id);
CREATE INDEX datasets_by_parent ON datasets (parent, id);
CREATE INDEX datasets_by_task ON datasets (task, id);

-- Sealed objects that were acknowledged. One blob belongs to one dataset, so that deleting the dataset erases it.
CREATE TABLE objects (
    dataset TEXT NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    object  BLOB NOT NULL,
    epoch   INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    bytes   INTEGER NOT NULL,
    PRIMARY KEY (dataset, object)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX objects_by_hash ON objects (hash);

-- Signed manifests, every number that ever was in force; the highest counts.
CREATE TABLE manifests (
    dataset   TEXT NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    digest    TEXT NOT NULL,
    statement TEXT NOT NULL,
    signature BLOB NOT NULL,
    signer    BLOB NOT NULL,
    created   INTEGER NOT NULL,
    PRIMARY KEY (dataset, number)
) STRICT, WITHOUT ROWID;

-- A dataset that is being written anew: the epoch to come, whose key the key store has already.
CREATE TABLE reseals (
    dataset     TEXT PRIMARY KEY REFERENCES datasets (id) ON DELETE CASCADE,
    task        TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    card_digest TEXT NOT NULL,
    label       BLOB NOT NULL,
    settings    BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    id        TEXT PRIMARY KEY,
    kind      TEXT NOT NULL,
    state     TEXT NOT NULL,
    -- The dataset it is about. No reference: an app's task outlives its first input, and goes with its result.
    subject   TEXT NOT NULL,
    session   TEXT,
    -- Whose members see it: the subject's project, or the one that the app's result goes into.
    project   TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    owner     TEXT NOT NULL REFERENCES accounts (id),
    reason    TEXT,
    percent   INTEGER NOT NULL DEFAULT 0,
    -- Sealed under the subject's key; `requeue` says which of the two kinds of settings it is.
    settings  BLOB,
    requeue   INTEGER NOT NULL DEFAULT 0 CHECK (requeue IN (0, 1)),
    -- The SHA-256 of the one-time ticket that the engine gave the vault; gone once it was used.
    ticket    TEXT,
    -- What the claim proved: who may write for the task, and what the receipt must name.
    vault_key TEXT,
    evidence  TEXT,
    -- How often a vault was lost; the second time the task has failed.
    lost      INTEGER NOT NULL DEFAULT 0,
    statement TEXT,
    signature BLOB,
    signer    BLOB,
    created   INTEGER NOT NULL,
    started   INTEGER,
    -- When the vault was last heard of.
    heard     INTEGER,
    ended     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_by_state ON tasks (state, id);
CREATE INDEX tasks_by_subject ON tasks (subject, id);
CREATE INDEX tasks_by_project ON tasks (project, id);
CREATE INDEX tasks_by_session ON tasks (session);

-- What a task reads, in order; for apps the package is the last one, named `package`. `manifest` is the version that was
-- handed to the vault at its claim.
CREATE TABLE task_inputs (
    task     TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name     TEXT NOT NULL,
    dataset  TEXT NOT NULL,
    manifest TEXT,
    PRIMARY KEY (task, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_inputs_by_dataset ON task_inputs (dataset, task);

CREATE TABLE apps (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    version  TEXT NOT NULL,
    title    TEXT NOT NULL,
    digest   TEXT NOT NULL,
    package  TEXT NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    manifest TEXT NOT NULL,
    owner    TEXT NOT NULL REFERENCES accounts (id),
    made_by  TEXT NOT NULL,
    created  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX apps_by_package ON apps (package);

-- Launches. Name, version and digest are copied, because a session outlives its app.
CREATE TABLE sessions (
    id          TEXT PRIMARY KEY,
    app         TEXT NOT NULL,
    app_name    TEXT NOT NULL,
    app_version TEXT NOT NULL,
    app_digest  TEXT NOT NULL,
    owner       TEXT NOT NULL REFERENCES accounts (id),
    project     TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    result      TEXT NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    task        TEXT NOT NULL,
    settings    BLOB NOT NULL,
    made_by     TEXT NOT NULL,
    created     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_owner ON sessions (owner, id);
CREATE INDEX sessions_by_project ON sessions (project, id);
CREATE INDEX sessions_by_result ON sessions (result);
