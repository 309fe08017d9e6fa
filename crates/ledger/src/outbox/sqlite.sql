-- Calls on their way to the chain. Written only by cactus-ledger.
CREATE TABLE IF NOT EXISTS outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    -- BCS of the call.
    call BLOB NOT NULL,
    -- Client and task id, for calls about a task: those happen in order.
    task BLOB,
    creates_task INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'submitted', 'confirmed', 'failed')),
    -- The signed transaction, stored before it is sent: its hash, its BCS, and its terms.
    hash TEXT,
    signed BLOB,
    sequence_number INTEGER,
    expires_seconds INTEGER,
    -- How often it was signed.
    attempts INTEGER NOT NULL DEFAULT 0,
    version INTEGER,
    -- JSON of the outcome, once final.
    outcome TEXT,
    created_seconds INTEGER NOT NULL,
    updated_seconds INTEGER NOT NULL,
    CHECK ((state = 'submitted') <= (hash IS NOT NULL AND signed IS NOT NULL
        AND sequence_number IS NOT NULL AND expires_seconds IS NOT NULL)),
    CHECK ((state IN ('confirmed', 'failed')) = (outcome IS NOT NULL))
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_open ON outbox (state, position)
    WHERE state IN ('pending', 'submitted');
CREATE INDEX IF NOT EXISTS outbox_task ON outbox (task, position) WHERE task IS NOT NULL;

-- Which process carries intents, when several run on one database: the last that took the lead, as
-- long as its lease runs. One row.
CREATE TABLE IF NOT EXISTS outbox_leader (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- Higher with each taking.
    epoch INTEGER NOT NULL,
    -- Unix milliseconds by the database's clock.
    until_ms INTEGER NOT NULL
) STRICT;
INSERT INTO outbox_leader (id, epoch, until_ms) VALUES (1, 0, 0) ON CONFLICT (id) DO NOTHING;
