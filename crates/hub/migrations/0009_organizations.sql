-- Organizations: an account belongs to one at most, so that whoever disables it there takes nothing from another.
CREATE TABLE organizations (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    plan    TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE organization_members (
    account      TEXT PRIMARY KEY REFERENCES accounts (id),
    organization TEXT NOT NULL REFERENCES organizations (id),
    role         TEXT NOT NULL,
    joined       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX organization_members_by_organization ON organization_members (organization, account);

-- Whose a project is. The row outlives the project, so that the events of its deletion are still the organization's.
CREATE TABLE organization_projects (
    project      TEXT PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organizations (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX organization_projects_by_organization ON organization_projects (organization, project);

-- Events that are the organization's and about no project of it: who came, who left, and what those who left had done.
CREATE TABLE organization_events (
    organization TEXT NOT NULL REFERENCES organizations (id),
    event        TEXT NOT NULL,
    PRIMARY KEY (organization, event)
) STRICT, WITHOUT ROWID;

-- When a key, and an account by any key or browser, was last used; to within ten minutes, so that calls cost no more.
ALTER TABLE account_keys ADD COLUMN used INTEGER;
ALTER TABLE accounts ADD COLUMN used INTEGER;
