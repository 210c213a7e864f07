-- Whether the manifest in force is of a run that goes on arriving: another one closes it.
ALTER TABLE datasets ADD COLUMN arriving INTEGER NOT NULL DEFAULT 0;
-- Whether a demultiplexing began before the run was closed: what it makes is for the one after it.
ALTER TABLE tasks ADD COLUMN early INTEGER NOT NULL DEFAULT 0;
