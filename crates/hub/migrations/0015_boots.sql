-- An owner's approval that a vault may start for a task. It is handed to one vault, and then it is gone.
CREATE TABLE boots (
    task     TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    project  TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    approval TEXT NOT NULL,
    card     TEXT NOT NULL,
    PRIMARY KEY (task, project)
) STRICT, WITHOUT ROWID;
