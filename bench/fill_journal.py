#!/usr/bin/python3
"""Fills the journal of a stopped server with jobs, for tests and measurements of a start.

    bench/fill_journal.py FILE ENDED OPEN

Every session in FILE that has an ended job is a pattern: ENDED jobs that have ended and OPEN jobs that are
queued are made after the patterns in turn, each with a session, a tag and a number of its own. Their seals
are no seals of theirs, so nothing of them can be tended. Prints the sessions of the first and of the last
ended job, and of the first open one.
"""

import secrets
import sqlite3
import sys
import time


def names(connection, table):
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def rows(connection, table, where):
    found = connection.execute(f"SELECT * FROM {table} WHERE {where}").fetchall()
    return [dict(zip(names(connection, table), row)) for row in found]


def insert(connection, table, made):
    columns = names(connection, table)
    marks = ", ".join("?" for _ in columns)
    values = ([row[name] for name in columns] for row in made)
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)


def main():
    path, ended, still_open = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    connection = sqlite3.connect(path)
    jobs = rows(connection, "jobs", "ended_ms IS NOT NULL")
    sessions = {row["number"]: row for row in rows(connection, "sessions", "1")}
    if not jobs:
        sys.exit(f"{path}: no job in it has ended: there is no pattern")
    number = connection.execute("SELECT max(number) FROM sessions").fetchone()[0]
    begin = number
    week = 7 * 86_400_000
    now = int(time.time() * 1000)
    made_sessions, made_jobs = [], []
    for count in range(ended + still_open):
        number += 1
        pattern = jobs[count % len(jobs)]
        made_sessions.append(dict(
            sessions[pattern["session"]], number=number, id=secrets.token_hex(16),
            created_ms=now - week + count, expires_ms=now + week + count, state="admitted",
        ))
        job = dict(pattern, session=number, tag=secrets.token_hex(8))
        if count >= ended:
            for name in ["shepherd_pid", "shepherd_ticks", "shepherd_boot", "started_ms", "ended_ms", "exit_code",
                         "signal", "cpu_usec", "wall_usec", "reason"]:
                job[name] = None
            job.update(state="queued", command_kind="argv", command=b"/bin/true\0")
        made_jobs.append(job)
    with connection:
        insert(connection, "sessions", made_sessions)
        insert(connection, "jobs", made_jobs)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    first, last, opened = 0, ended - 1, ended
    shown = [made_sessions[at]["id"] for at in (first, last, opened) if 0 <= at < len(made_sessions)]
    assert number - begin == len(made_sessions)
    print(*shown)


if __name__ == "__main__":
    main()
