-- Cases are described beside the wrapped keys too (spec/store.md section 6.5), so many rows at a time: a sheet. Which sheet a case is on
-- follows from its row's number, and a sheet's id from its own: it has no row.

INSERT INTO undescribed
SELECT DISTINCT printf('ca5e5000-0000-4000-8000-%012d', number / 500), 'cases', 1 FROM cases
WHERE true ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;

CREATE TRIGGER cases_made AFTER INSERT ON cases
BEGIN
    INSERT INTO undescribed VALUES (printf('ca5e5000-0000-4000-8000-%012d', NEW.number / 500), 'cases', 1)
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER cases_changed AFTER UPDATE OF status, version, concluded_by, key, document, changed, closed ON cases
BEGIN
    INSERT INTO undescribed VALUES (printf('ca5e5000-0000-4000-8000-%012d', NEW.number / 500), 'cases', 1)
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER cases_gone AFTER DELETE ON cases
BEGIN
    INSERT INTO undescribed VALUES (printf('ca5e5000-0000-4000-8000-%012d', OLD.number / 500), 'cases', 1)
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER case_datasets_made AFTER INSERT ON case_datasets
BEGIN
    INSERT INTO undescribed VALUES (printf('ca5e5000-0000-4000-8000-%012d', NEW.number / 500), 'cases', 1)
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER case_datasets_gone AFTER DELETE ON case_datasets
BEGIN
    INSERT INTO undescribed VALUES (printf('ca5e5000-0000-4000-8000-%012d', OLD.number / 500), 'cases', 1)
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;

-- What an organization wants of its cases, and which fields it searches, stands in its own description.
INSERT INTO undescribed SELECT DISTINCT organization, 'organization', 1 FROM case_indexes
WHERE true ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
INSERT INTO undescribed SELECT DISTINCT organization, 'organization', 1 FROM case_rules
WHERE true ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
CREATE TRIGGER case_rules_made AFTER INSERT ON case_rules
BEGIN
    INSERT INTO undescribed VALUES (NEW.organization, 'organization', 1)
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER case_rules_changed AFTER UPDATE ON case_rules
BEGIN
    INSERT INTO undescribed VALUES (NEW.organization, 'organization', 1)
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER case_indexes_made AFTER INSERT ON case_indexes
BEGIN
    INSERT INTO undescribed VALUES (NEW.organization, 'organization', 1)
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER case_indexes_changed AFTER UPDATE OF state ON case_indexes
BEGIN
    INSERT INTO undescribed VALUES (NEW.organization, 'organization', 1)
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
CREATE TRIGGER case_indexes_gone AFTER DELETE ON case_indexes
BEGIN
    INSERT INTO undescribed VALUES (OLD.organization, 'organization', 1)
    ON CONFLICT (subject) DO UPDATE SET changes = changes + 1;
END;
