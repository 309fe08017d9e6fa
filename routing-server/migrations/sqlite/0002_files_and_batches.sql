-- Files that payers uploaded and that batches wrote. Their bytes lie in the data directory, in
-- `files/`, under their id.
CREATE TABLE files (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    purpose TEXT NOT NULL,
    filename TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    -- Unix milliseconds.
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX files_client ON files (client, created_ms);
CREATE INDEX files_expiry ON files (expires_ms);

-- Many requests in one file, answered when there is room.
CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    -- Hex of BCS of the signed order: what all lines together may spend.
    signed_order TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    input_file TEXT NOT NULL,
    completion_window TEXT NOT NULL,
    -- JSON of the client's own notes.
    metadata TEXT NOT NULL,
    -- validating, failed, in_progress, finalizing, completed, expired, cancelling or cancelled.
    state TEXT NOT NULL,
    is_final INTEGER NOT NULL DEFAULT 0,
    -- JSON: why the input was refused.
    errors TEXT,
    -- Counts when the batch has ended; until then the lines themselves are counted.
    total INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    output_file TEXT,
    error_file TEXT,
    -- JSON: when it came into each state, in Unix seconds.
    times TEXT NOT NULL,
    -- Unix milliseconds.
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX batches_client ON batches (client, created_ms);
CREATE INDEX batches_live ON batches (is_final) WHERE is_final = 0;

-- The lines of batches that have not ended. A line's answer is written in the transaction that
-- decides to pay for it: a line with a result is never asked again.
CREATE TABLE batch_lines (
    batch TEXT NOT NULL,
    line INTEGER NOT NULL,
    custom_id TEXT NOT NULL,
    -- Where the line is in the input file, in bytes.
    start INTEGER NOT NULL,
    length INTEGER NOT NULL,
    -- The line of the output or error file.
    result TEXT,
    is_error INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, line),
    UNIQUE (batch, custom_id)
) STRICT, WITHOUT ROWID;
