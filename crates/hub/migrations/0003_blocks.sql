-- Callers that were refused too often. A block that is over stays for a day, because it makes the next one longer.
CREATE TABLE blocks (
    -- `address:192.0.2.7`, `address:2001:db8::/64` or `key:ID`.
    subject TEXT PRIMARY KEY,
    id      TEXT NOT NULL,
    since   INTEGER NOT NULL,
    -- Absent until an operator lifts it.
    until   INTEGER,
    times   INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    -- The operator who set it, if one did. No reference: a block outlives the account.
    by      TEXT
) STRICT, WITHOUT ROWID;

-- Counters of callers that would gain by a restart: thousandths of tokens and of strikes, at a moment.
CREATE TABLE limits (
    subject       TEXT PRIMARY KEY,
    milli_tokens  INTEGER NOT NULL,
    milli_strikes INTEGER NOT NULL,
    at            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Why a call was refused is asked by the call's id.
CREATE INDEX refusals_by_call ON events (request_id) WHERE outcome = 'refused';
