-- Blobs whose erasure was acknowledged and that a facility may still hold, because it was away. It stands here before the first
-- facility is told, so that it does not depend on those which answered; it goes when every facility has answered.
CREATE TABLE erasures (
    hash BLOB PRIMARY KEY,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
