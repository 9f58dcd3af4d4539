"""What a session is made of, without a network: its id, its status, its files and their names.

    >>> is_id("0123456789abcdef0123456789abcdef"), is_id("0123456789ABCDEF0123456789ABCDEF")
    (True, False)
    >>> status = Status({"state": "running", "cpu_seconds": 1.25, "cpu_limit": 20.0, "wall_seconds": 63.0})
    >>> status
    <running, 1.25 of 20 CPU seconds, 1:03>
    >>> status.ended, status.cpu_limit, status["state"]
    (False, 20.0, 'running')
    >>> held = {"state": "queued", "batch": "pbs", "comment": "held", "as_of": "2006-11-22T12:00:00Z (pbs is down)"}
    >>> Status(held), Status(held).as_of
    (<queued, 0 CPU seconds, 0:00, pbs: held>, datetime.datetime(2006, 11, 22, 12, 0))
"""

from __future__ import annotations

import datetime
import os
import re
from typing import Any, Iterator, Mapping, NamedTuple
from urllib.parse import quote, unquote, urlsplit

ENDED = frozenset(["done", "failed", "cancelled", "over_limit", "lost"])
NAME_BYTES_MAX = 255
_ID = re.compile(r"[0-9a-f]{32}")
# Methods whose text answer is a session, whatever the headers say.
MAKERS = frozenset(["job.submit", "session.new"])


def is_id(value: object) -> bool:
    """Whether a value has the form of a session's id."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_made(method: str, value: object, url: str | None) -> bool:
    """Whether `value` is the session that this call made.

    Any service may answer 32 hex digits that are something else, so the form is not enough: the
    answer's `NESSSI-Session-URL` must name the same, or the method must be one that makes sessions.
    """
    if not is_id(value):
        return False
    if method in MAKERS:
        return True
    return url is not None and value in urlsplit(url).path.split("/")


class Status(Mapping[str, Any]):
    """What is known of a session's job, as attributes; what the server says beside them by `[...]`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(f"the server's answer has no {name!r}")
        return self._values[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._values})

    @property
    def state(self) -> str:
        """prepared, queued, running, done, failed, cancelled, over_limit or lost."""
        return str(self._values.get("state", ""))

    @property
    def ended(self) -> bool:
        """Whether the job has ended, however."""
        return self.state in ENDED

    @property
    def ok(self) -> bool:
        """Whether the job has ended well."""
        return self.state == "done"

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds used so far."""
        return float(self._values.get("cpu_seconds") or 0)

    @property
    def cpu_limit(self) -> float | None:
        """CPU seconds at which the job is ended; None if the server does not say."""
        limit = self._values.get("cpu_limit")
        return None if limit is None else float(limit)

    @property
    def wall_seconds(self) -> float:
        """Seconds since the job began, or that it took."""
        return float(self._values.get("wall_seconds") or 0)

    @property
    def exit_code(self) -> int | None:
        """The exit code, once there is one."""
        code = self._values.get("exit_code")
        return None if code is None else int(code)

    @property
    def reason(self) -> str:
        """Why it ended as it did, in words; "" where there is nothing to say."""
        return str(self._values.get("reason") or "")

    @property
    def batch(self) -> str:
        """The batch system that has the job; "" before there is one."""
        return str(self._values.get("batch") or "")

    @property
    def comment(self) -> str:
        """Why it waits or is held, in its batch system's words; "" where it does not say."""
        return str(self._values.get("comment") or "")

    @property
    def as_of(self) -> datetime.datetime | None:
        """Of when this is (UTC). Where it may be older than it should be, `["as_of"]` says why."""
        when = self._values.get("as_of")
        if isinstance(when, str):
            # `2006-11-22T12:00:00Z (why)`
            try:
                return datetime.datetime.strptime(when.partition(" ")[0], "%Y-%m-%dT%H:%M:%SZ")
            except ValueError:
                return None
        return when if isinstance(when, datetime.datetime) else None

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        used = f"{self.cpu_seconds:.3g}"
        limit = self.cpu_limit
        parts = [self.state or "unknown"]
        parts.append(f"{used} CPU seconds" if limit is None else f"{used} of {limit:.12g} CPU seconds")
        parts.append(clock(self.wall_seconds))
        if self.exit_code not in (None, 0):
            parts.append(f"exit code {self.exit_code}")
        if self.reason:
            parts.append(self.reason)
        if self.comment:
            parts.append(f"{self.batch}: {self.comment}")
        return ", ".join(parts)


def clock(seconds: float) -> str:
    """Seconds as a clock shows them.

    >>> clock(7), clock(3723.9)
    ('0:07', '1:02:03')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class File(NamedTuple):
    """A file or directory of a sandbox; `path` is relative to the sandbox."""

    path: str
    directory: bool
    size: int
    modified: datetime.datetime | None

    @property
    def name(self) -> str:
        """The last name of the path."""
        return self.path.rpartition("/")[2]


def entries(listing: Any, under: str) -> tuple[list[File], bool]:
    """The files of a directory as the server lists it, and whether the list was cut.

    Names come from a server and end as paths of this machine: one that is not a plain name is
    refused with ValueError.
    """
    found = listing.get("entries") if isinstance(listing, dict) else None
    if not isinstance(found, list):
        raise ValueError("the server's answer is no list of files")
    files = []
    for entry in found:
        try:
            name, directory, size = entry["name"], entry["directory"], entry["size"]
            modified = entry.get("modified")
        except (TypeError, KeyError, AttributeError):
            raise ValueError("the server's answer is no list of files") from None
        if not isinstance(directory, bool) or not isinstance(size, int) or size < 0:
            raise ValueError("the server's answer is no list of files")
        path = f"{under}/{plain_name(name)}" if under else plain_name(name)
        files.append(File(path, directory, size, _moment(modified)))
    return files, listing.get("cut") is True


def plain_name(name: object) -> str:
    r"""`name`, if it is one name of one file and nothing else; else ValueError.

    >>> plain_name("data.txt")
    'data.txt'
    >>> for name in ("", ".", "..", "a/b", "a\0", ".ssh"):
    ...     try:
    ...         plain_name(name)
    ...     except ValueError as wrong:
    ...         print(wrong)
    a file's name is refused: ''
    a file's name is refused: '.'
    a file's name is refused: '..'
    a file's name is refused: 'a/b'
    a file's name is refused: 'a\x00'
    a file's name is refused: '.ssh'
    """
    # Names that begin with a dot are never served, so that who sends one is not to be believed.
    if (
        not isinstance(name, str)
        or name in ("", ".", "..")
        or name.startswith(".")
        or any(ord(letter) < 32 or ord(letter) == 127 or letter in "/\\" for letter in name)
        or len(os.fsencode(name)) > NAME_BYTES_MAX
    ):
        raise ValueError(f"a file's name is refused: {name!r}"[:200])
    return name


def clean_path(path: str) -> str:
    """A path in a sandbox, as the server has it: names between single slashes; ValueError for others.

    >>> clean_path("/out/a b.txt"), clean_path("")
    ('out/a b.txt', '')
    """
    names = [name for name in path.split("/") if name]
    for name in names:
        plain_name(name)
    return "/".join(names)


def target(base: str, session: str, path: str, directory: bool = False) -> str:
    """What is asked for with GET and PUT: the path of the address, percent-encoded.

    >>> target("/clarens/", "0" * 32, "a b/ü")
    '/clarens/00000000000000000000000000000000/a%20b/%C3%BC'
    """
    encoded = quote(os.fsencode(clean_path(path)), safe="/~")
    end = "/" if directory and encoded else ""
    return f"{base.rstrip('/')}/{session}/{encoded}{end}"


def session_of_url(url: str) -> str | None:
    """The session that an address of a sandbox names.

    >>> session_of_url("http://localhost:8080/sandboxes/0123456789abcdef0123456789abcdef/stdout")
    '0123456789abcdef0123456789abcdef'
    """
    for part in urlsplit(url).path.split("/"):
        if is_id(unquote(part)):
            return part
    return None


def _moment(value: object) -> datetime.datetime | None:
    if isinstance(value, datetime.datetime):
        return value
    try:
        if isinstance(value, (int, float)):
            return datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
        if isinstance(value, str):
            return datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (ValueError, OverflowError, OSError):
        pass
    return None
