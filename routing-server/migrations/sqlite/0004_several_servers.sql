-- Servers of this account that run on this database. One that says nothing until its time is over
-- counts as dead: another one takes its tasks, its batches and its grants.
CREATE TABLE instances (
    id TEXT PRIMARY KEY,
    -- Unix milliseconds by the database's clock.
    alive_until_ms INTEGER NOT NULL
) STRICT;

-- The instance that looks after it.
ALTER TABLE tasks ADD COLUMN instance TEXT;
ALTER TABLE batches ADD COLUMN instance TEXT;
CREATE INDEX tasks_looked_after ON tasks (instance) WHERE is_final = 0;
CREATE INDEX batches_looked_after ON batches (instance) WHERE is_final = 0;

-- Money that instances share: a payer's balance, or what an order has left. Who changes a grant
-- raises the version, so that nobody acts on what another one changed meanwhile.
CREATE TABLE pots (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    -- Unix milliseconds at which an instance last wanted more than there was to grant.
    wanted_ms INTEGER NOT NULL DEFAULT 0,
    -- Unix milliseconds after which nothing can be spent of it.
    expires_ms INTEGER NOT NULL
) STRICT;

-- What one instance may spend of a pot without asking.
CREATE TABLE grants (
    pot TEXT NOT NULL,
    instance TEXT NOT NULL,
    octas INTEGER NOT NULL,
    -- How much of it was not spent when it last changed: what others may hope for.
    free INTEGER NOT NULL,
    PRIMARY KEY (pot, instance)
) STRICT;

-- Nonces of signed requests, for as long as their time could be accepted.
CREATE TABLE nonces (
    client TEXT NOT NULL,
    nonce TEXT NOT NULL,
    -- Unix milliseconds.
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (client, nonce)
) STRICT;
CREATE INDEX nonces_expiry ON nonces (expires_ms);

-- Keys that were made or revoked lately.
CREATE INDEX api_keys_created ON api_keys (created_ms);
CREATE INDEX api_keys_revoked ON api_keys (revoked_ms) WHERE revoked_ms IS NOT NULL;
