"""A tag is a name of the caller's own for a call: the same call with the same tag is answered with
what it was answered first, so it can be sent again when the answer was lost.

Reads need none: they change nothing, and are simply asked again.

    >>> kind("job.status"), kind("sleepy.sleepyAdd"), kind("system.logout")
    (<Kind.READ: 1>, <Kind.TAGGED: 2>, <Kind.ONCE: 3>)
"""

from __future__ import annotations

import enum
import random
import re
import secrets
from typing import Iterator

TAG_BYTES_MAX = 128
# How often a call is sent again, and how long is waited before each time, at most.
AGAIN_MAX = 5
AGAIN_SECONDS_MAX = 8.0
_AGAIN_SECONDS_FIRST = 0.25

_TAG = re.compile(r"[!-~]{1,%d}" % TAG_BYTES_MAX)

_READ_PREFIXES = ("system.", "echo.", "service.")
_READS = frozenset(
    "job.status job.list job.tail job.wait session.url session.list "
    "file.ls file.stat file.size file.find file.read file.md5 file.sha256 "
    "vo.groups vo.mine vo.members vo.administrators access.list shell.cmd_info".split()
)
# They stand for themselves: a login is made once, and each call of many carries a tag of its own.
_ONCE = frozenset(["system.auth", "system.auth2", "system.logout", "system.multicall"])


class Kind(enum.Enum):
    """How a call may be sent again."""

    READ = 1
    """It changes nothing."""
    TAGGED = 2
    """With its tag alone."""
    ONCE = 3
    """Never."""


def kind(method: str) -> Kind:
    """How a call of this method may be sent again."""
    if method in _ONCE:
        return Kind.ONCE
    if method in _READS or (method.startswith(_READ_PREFIXES) and method.count(".") == 1):
        return Kind.READ
    return Kind.TAGGED


def new() -> str:
    """A tag that nobody can guess: 256 random bits."""
    return secrets.token_urlsafe(32)


def checked(tag: str) -> str:
    """`tag`, if it can be one: 1 to 128 printable ASCII characters without blanks; else ValueError.

    >>> checked("run-2024-11/chunk 7")
    Traceback (most recent call last):
        ...
    ValueError: a tag is 1 to 128 printable ASCII characters without blanks
    """
    if not isinstance(tag, str) or not _TAG.fullmatch(tag):
        raise ValueError(f"a tag is 1 to {TAG_BYTES_MAX} printable ASCII characters without blanks")
    return tag


def pauses(count: int = AGAIN_MAX) -> Iterator[float]:
    """Seconds to wait before each new try: doubled each time, and never quite the same for two callers."""
    longest = _AGAIN_SECONDS_FIRST
    for _ in range(count):
        yield longest * (0.5 + random.random() / 2)
        longest = min(longest * 2, AGAIN_SECONDS_MAX)
