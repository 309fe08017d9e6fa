-- Calls on their way to the chain. Written only by cactus-ledger.
CREATE TABLE IF NOT EXISTS outbox (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    -- BCS of the call.
    call BYTEA NOT NULL,
    -- Client and task id, for calls about a task: those happen in order.
    task BYTEA,
    creates_task BIGINT NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'submitted', 'confirmed', 'failed')),
    -- The signed transaction, stored before it is sent: its hash, its BCS, and its terms.
    hash TEXT,
    signed BYTEA,
    sequence_number BIGINT,
    expires_seconds BIGINT,
    -- How often it was signed.
    attempts BIGINT NOT NULL DEFAULT 0,
    version BIGINT,
    -- JSON of the outcome, once final.
    outcome TEXT,
    created_seconds BIGINT NOT NULL,
    updated_seconds BIGINT NOT NULL,
    CHECK ((state = 'submitted') <= (hash IS NOT NULL AND signed IS NOT NULL
        AND sequence_number IS NOT NULL AND expires_seconds IS NOT NULL)),
    CHECK ((state IN ('confirmed', 'failed')) = (outcome IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS outbox_open ON outbox (state, position)
    WHERE state IN ('pending', 'submitted');
CREATE INDEX IF NOT EXISTS outbox_task ON outbox (task, position) WHERE task IS NOT NULL;

-- Which process carries intents, when several run on one database: the last that took the lead, as
-- long as its lease runs. One row.
CREATE TABLE IF NOT EXISTS outbox_leader (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    -- Higher with each taking.
    epoch BIGINT NOT NULL,
    -- Unix milliseconds by the database's clock.
    until_ms BIGINT NOT NULL
);
INSERT INTO outbox_leader (id, epoch, until_ms) VALUES (1, 0, 0) ON CONFLICT (id) DO NOTHING;
