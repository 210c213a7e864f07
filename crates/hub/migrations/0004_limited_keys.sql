-- Keys that may less than their account: a scope, perhaps some projects only, perhaps an end.

-- The most that the key may do as a member; NULL for a key without limits.
ALTER TABLE account_keys ADD COLUMN scope TEXT;
-- Whether it finds the projects in `key_projects` alone. When the last of them is deleted, it finds none.
ALTER TABLE account_keys ADD COLUMN some_projects INTEGER NOT NULL DEFAULT 0 CHECK (some_projects IN (0, 1));
ALTER TABLE account_keys ADD COLUMN expires INTEGER;

CREATE TABLE key_projects (
    key     TEXT NOT NULL REFERENCES account_keys (id) ON DELETE CASCADE,
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    PRIMARY KEY (key, project)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_projects_by_project ON key_projects (project);

-- The key that queued a task: the vault makes nothing in a project that this key does not find.
ALTER TABLE tasks ADD COLUMN by_key TEXT;
