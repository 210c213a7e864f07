-- How the vault that claimed a task proved what it is, so that its receipt can say nothing more of itself. Nothing for tasks that were
-- claimed before.
ALTER TABLE tasks ADD COLUMN evidence_kind TEXT;
