CREATE TABLE lease (one INTEGER PRIMARY KEY CHECK (one = 1), holder INTEGER NOT NULL) STRICT;
INSERT INTO lease VALUES (1, 0);
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    subject BLOB, issuer BLOB, address TEXT NOT NULL,
    account TEXT NOT NULL, level TEXT NOT NULL, limits BLOB NOT NULL,
    service TEXT NOT NULL, method TEXT NOT NULL,
    created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
    seal BLOB NOT NULL, state TEXT NOT NULL, trouble TEXT
) STRICT;
CREATE INDEX sessions_removed ON sessions (expires_ms) WHERE state = 'removed';
CREATE TABLE jobs (
    session INTEGER PRIMARY KEY REFERENCES sessions (number) ON DELETE CASCADE,
    tag TEXT NOT NULL UNIQUE, batch TEXT NOT NULL, state TEXT NOT NULL,
    command_kind TEXT, command BLOB,
    cpu_seconds_max INTEGER NOT NULL, wall_seconds_max INTEGER NOT NULL,
    sandbox_bytes_max INTEGER NOT NULL, leaf INTEGER NOT NULL,
    shepherd_pid INTEGER, shepherd_ticks INTEGER, shepherd_boot TEXT,
    queued_ms INTEGER NOT NULL, started_ms INTEGER, ended_ms INTEGER,
    exit_code INTEGER, signal INTEGER, cpu_usec INTEGER, wall_usec INTEGER, reason TEXT
) STRICT;
