-- What waits for people to see it, and mail that tells them so.

-- A notice for one account: what happened to which thing, as `kind:id`. What is told once and no more has a name in `once`.
CREATE TABLE notices (
    id      TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id),
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    project TEXT REFERENCES projects (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    read    INTEGER,
    once    TEXT UNIQUE
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_by_account ON notices (account, id);
CREATE INDEX notices_by_project ON notices (project);
CREATE INDEX notices_by_age ON notices (at);

-- Where mail goes, for those who want any.
CREATE TABLE mail_addresses (
    account TEXT PRIMARY KEY REFERENCES accounts (id),
    address TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- At most one mail waits for an account: it says that something waits, however much that is.
CREATE TABLE mails (
    account TEXT PRIMARY KEY REFERENCES mail_addresses (account) ON DELETE CASCADE,
    due     INTEGER NOT NULL,
    tries   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX mails_by_due ON mails (due);
