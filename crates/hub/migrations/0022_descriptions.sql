-- What stands of accounts, projects and datasets beside the wrapped keys (spec/store.md section 6.5) is written after their rows.
-- This is the list of those whose description is older than their rows. `changes` tells a row that changed meanwhile.

CREATE TABLE undescribed (
    subject TEXT PRIMARY KEY,
    kind    TEXT NOT NULL,
    changes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO undescribed SELECT id, 'account', 1 FROM accounts;
INSERT INTO undescribed SELECT id, 'project', 1 FROM projects;
INSERT INTO undescribed SELECT id, 'dataset', 1 FROM datasets;

CREATE TRIGGER accounts_made AFTER INSERT ON accounts
BEGIN
    INSERT INTO undescribed SELECT id, 'account', 1 FROM accounts WHERE id = NEW.id
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER accounts_changed AFTER UPDATE OF name, operator, disabled, kind ON accounts
BEGIN
    INSERT INTO undescribed SELECT id, 'account', 1 FROM accounts WHERE id = NEW.id
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER account_keys_made AFTER INSERT ON account_keys
BEGIN
    INSERT INTO undescribed SELECT id, 'account', 1 FROM accounts WHERE id = NEW.account
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER account_keys_changed AFTER UPDATE OF name, revoked, scope, some_projects, expires ON account_keys
BEGIN
    INSERT INTO undescribed SELECT id, 'account', 1 FROM accounts WHERE id = NEW.account
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER organization_members_made AFTER INSERT ON organization_members
BEGIN
    INSERT INTO undescribed SELECT id, 'account', 1 FROM accounts WHERE id = NEW.account
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER organization_members_changed AFTER UPDATE ON organization_members
BEGIN
    INSERT INTO undescribed SELECT id, 'account', 1 FROM accounts WHERE id = NEW.account
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER projects_made AFTER INSERT ON projects
BEGIN
    INSERT INTO undescribed SELECT id, 'project', 1 FROM projects WHERE id = NEW.id
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER projects_changed AFTER UPDATE OF custodian, owner, label, readable_until ON projects
BEGIN
    INSERT INTO undescribed SELECT id, 'project', 1 FROM projects WHERE id = NEW.id
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER cards_made AFTER INSERT ON cards
BEGIN
    INSERT INTO undescribed SELECT id, 'project', 1 FROM projects WHERE id = NEW.project
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER members_made AFTER INSERT ON members
BEGIN
    INSERT INTO undescribed SELECT id, 'project', 1 FROM projects WHERE id = NEW.project
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER members_changed AFTER UPDATE ON members
BEGIN
    INSERT INTO undescribed SELECT id, 'project', 1 FROM projects WHERE id = NEW.project
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER members_removed AFTER DELETE ON members
BEGIN
    INSERT INTO undescribed SELECT id, 'project', 1 FROM projects WHERE id = OLD.project
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER key_projects_made AFTER INSERT ON key_projects
BEGIN
    INSERT INTO undescribed SELECT id, 'project', 1 FROM projects WHERE id = NEW.project
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER organization_projects_made AFTER INSERT ON organization_projects
BEGIN
    INSERT INTO undescribed SELECT id, 'project', 1 FROM projects WHERE id = NEW.project
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER organization_projects_changed AFTER UPDATE ON organization_projects
BEGIN
    INSERT INTO undescribed SELECT id, 'project', 1 FROM projects WHERE id = NEW.project
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER datasets_made AFTER INSERT ON datasets
BEGIN
    INSERT INTO undescribed SELECT id, 'dataset', 1 FROM datasets WHERE id = NEW.id
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER datasets_changed AFTER UPDATE OF project, owner, label, settings, execution, reason, quality, delivery, reads, epoch, card_digest, manifest_number ON datasets
BEGIN
    INSERT INTO undescribed SELECT id, 'dataset', 1 FROM datasets WHERE id = NEW.id
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER dataset_writers_made AFTER INSERT ON dataset_writers
BEGIN
    INSERT INTO undescribed SELECT id, 'dataset', 1 FROM datasets WHERE id = NEW.dataset
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER apps_made AFTER INSERT ON apps
BEGIN
    INSERT INTO undescribed SELECT id, 'dataset', 1 FROM datasets WHERE id = NEW.package
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER sessions_made AFTER INSERT ON sessions
BEGIN
    INSERT INTO undescribed SELECT id, 'dataset', 1 FROM datasets WHERE id = NEW.result
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER projects_gone AFTER DELETE ON projects
BEGIN DELETE FROM undescribed WHERE subject = OLD.id; END;
CREATE TRIGGER datasets_gone AFTER DELETE ON datasets
BEGIN DELETE FROM undescribed WHERE subject = OLD.id; END;
