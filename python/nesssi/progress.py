"""What a person at a terminal sees while something takes its time: one line, written again and again.

Nothing is shown where nobody looks: `progress=None` shows it on a terminal alone, `True` always, `False`
never; a function is called instead.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Callable, Union

from nesssi.session_values import Status, clock

Progress = Union[None, bool, Callable[..., Any]]
_SECONDS_BETWEEN = 0.1


def bar(progress: Progress) -> Bar | None:
    """What `progress` asks for: None where nothing is to be shown or called."""
    if callable(progress):
        return Bar(progress)
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
    return Bar(None) if progress else None


class Bar:
    """One line on standard error, or the function that takes its place."""

    def __init__(self, function: Callable[..., Any] | None) -> None:
        self._function = function
        self._width = 0
        self._last = 0.0
        self._began = time.monotonic()

    def status(self, session: str, status: Status) -> None:
        """Tells the status of a job."""
        if self._function:
            self._function(status)
            return
        elapsed = clock(time.monotonic() - self._began)
        limit = "" if status.cpu_limit is None else f"/{status.cpu_limit:.12g}"
        self._write(f"{session[:8]}  {status.state:<10}  CPU {status.cpu_seconds:.1f}{limit} s  {elapsed}")

    def bytes(self, path: str, done: int, total: int) -> None:
        """Tells how much of a file has come."""
        if self._function:
            self._function(path, done, total)
            return
        now = time.monotonic()
        if done < total and now - self._last < _SECONDS_BETWEEN:
            return
        self._last = now
        share = 100 if not total else done * 100 // total
        self._write(f"{path}  {share:3d} %  {_size(done)} of {_size(total)}")

    def end(self) -> None:
        """Leaves the line as it is."""
        if self._width:
            print(file=sys.stderr, flush=True)
            self._width = 0

    def _write(self, text: str) -> None:
        # What a server names is shown to a terminal: no control character of it.
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
        print("\r" + text.ljust(self._width), end="", file=sys.stderr, flush=True)
        self._width = len(text)


def _size(count: int) -> str:
    """Bytes as a person reads them.

    >>> _size(999), _size(52428800)
    ('999 B', '50.0 MiB')
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
