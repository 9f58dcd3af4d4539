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
CREATE TABLE vo_groups (
    name TEXT PRIMARY KEY, made_by BLOB NOT NULL, made_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE vo_entries (
    group_name TEXT NOT NULL REFERENCES vo_groups (name) ON DELETE CASCADE,
    list TEXT NOT NULL, key BLOB NOT NULL, subject BLOB NOT NULL,
    made_by BLOB NOT NULL, made_ms INTEGER NOT NULL,
    PRIMARY KEY (group_name, list, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE used (
    day INTEGER NOT NULL, owner TEXT NOT NULL, cpu_usec INTEGER NOT NULL,
    PRIMARY KEY (day, owner)
) STRICT, WITHOUT ROWID;
CREATE TABLE answers (
    number INTEGER PRIMARY KEY,
    subject BLOB, address TEXT CHECK ((subject IS NULL) <> (address IS NULL)),
    method TEXT NOT NULL, tag TEXT NOT NULL,
    params BLOB NOT NULL, granted INTEGER NOT NULL,
    called_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
    session TEXT, reply BLOB, reply_bytes INTEGER
) STRICT;
CREATE INDEX answers_tag ON answers (tag, method);
CREATE TABLE access_edits (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL, method TEXT, allow INTEGER NOT NULL,
    whom_kind TEXT NOT NULL, whom BLOB NOT NULL,
    start_unix INTEGER, end_unix INTEGER,
    made_by BLOB NOT NULL, made_ms INTEGER NOT NULL
) STRICT;
