-- One row per attempt to answer a request. Prompts and answers are not stored.
CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    order_id TEXT NOT NULL,
    operator TEXT NOT NULL,
    node TEXT NOT NULL,
    model TEXT NOT NULL,
    -- Octas locked, and octas per 1,000 tokens.
    lock BIGINT NOT NULL,
    prompt_price BIGINT NOT NULL,
    output_price BIGINT NOT NULL,
    -- Unix seconds after which anyone may return the lock.
    deadline_seconds BIGINT NOT NULL,
    -- JSON of the protocol's TaskState; the flag repeats whether it is settled or refunded.
    state TEXT NOT NULL,
    is_final BIGINT NOT NULL DEFAULT 0,
    -- JSON: who could have answered, with the terms of their scores.
    candidates TEXT NOT NULL,
    -- JSON: earlier attempts for the same request.
    previous TEXT NOT NULL,
    -- `verified`, or why there is nothing to pay for.
    verdict TEXT,
    -- JSON of the signed receipt.
    receipt TEXT,
    -- Milliseconds, measured by this server.
    ttft_ms BIGINT,
    total_ms BIGINT,
    -- What the chain confirmed.
    create_transaction TEXT,
    close_transaction TEXT,
    orchestrator_octas BIGINT,
    fee_octas BIGINT,
    refund_octas BIGINT,
    -- Unix milliseconds.
    created_ms BIGINT NOT NULL,
    closed_ms BIGINT,
    settled_ms BIGINT
);
CREATE INDEX tasks_order ON tasks (client, order_id);
CREATE INDEX tasks_live ON tasks (is_final) WHERE is_final = 0;

-- API keys. Only the hash of a key is stored; the order is what its holder may spend.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    key_hash TEXT NOT NULL UNIQUE,
    client TEXT NOT NULL,
    -- Hex of BCS of the signed order.
    signed_order TEXT NOT NULL,
    -- Unix milliseconds.
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);
CREATE INDEX api_keys_live ON api_keys (client) WHERE revoked_ms IS NULL;
