-- The bytes of files, in parts of one size but for the last. A file whose bytes are still coming
-- has a row in `files` whose client is empty.
CREATE TABLE file_parts (
    file TEXT NOT NULL,
    -- From 0.
    part INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (file, part)
) STRICT;
