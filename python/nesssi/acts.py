"""What a session can do, for both clients: its job waited for, its files listed, read, brought and sent.

Everything survives a server that is restarted meanwhile: what reads is asked again, what brings a file goes
on where it stood.
"""

from __future__ import annotations

import codecs
import contextlib
import email.utils
import hashlib
import json
import os
import re
import stat
import time
from typing import Any, BinaryIO, Callable, Iterator, Union

from nesssi import errors, tags, xmlcall
from nesssi.core import CHUNK_BYTES, Core, Response, is_front
from nesssi.fault import Fault, NoSuchMethod, NotFound, TooMany, Unavailable
from nesssi.progress import Bar, Progress, bar
from nesssi.session_values import File, Status, clean_path, entries, plain_name, target

Local = Union[str, "os.PathLike[str]", bytes, BinaryIO]

# How long one call of `job.wait` asks the server to wait: less than fronts let a connection be silent.
WAIT_SECONDS = 50.0
WATCH_SECONDS = 2.0
FOLLOW_SECONDS = 1.0
# How long a server that does not answer is asked again, before a wait or a transfer gives up.
PATIENCE_SECONDS = 300.0
READ_PATIENCE_SECONDS = 30.0
FILES_MAX = 100_000
DIRECTORY_DEPTH_MAX = 64
LISTING_BYTES_MAX = 64 * 1024 * 1024
READ_BYTES_MAX = 256 * 1024 * 1024
# A transfer may take this long, and a second more for each of these bytes.
TRANSFER_SECONDS = 600.0
TRANSFER_BYTES_EACH_SECOND = 1024
_PART, _VERSION = ".nesssi-part", ".nesssi-version"
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_PASSING = (errors.CannotConnect, errors.ReplyLost, errors.TimedOut, Unavailable, TooMany)


class WaitTimeout(TimeoutError):
    """The job has not ended within the time; `status` is what was last known."""

    def __init__(self, session: str, status: Status | None) -> None:
        super().__init__(f"session {session[:8]}... has not ended: {status}")
        self.status = status


class Patience:
    """Goes on after what passes, for so many seconds (`PATIENCE_SECONDS`) since anything last went well."""

    def __init__(self, core: Core, seconds: float | None = None) -> None:
        self._core = core
        self._seconds = PATIENCE_SECONDS if seconds is None else seconds
        self.well()

    def well(self) -> None:
        """Something went well."""
        self._end = time.monotonic() + self._seconds
        self._pauses = tags.pauses()

    async def after(self, wrong: Exception) -> None:
        """Waits before the next try; raises `wrong` if there is none."""
        passing = isinstance(wrong, _PASSING) or (isinstance(wrong, Fault) and is_front(wrong))
        if not passing or not self._core.has_worked or time.monotonic() >= self._end:
            raise wrong
        await self._core.network.pause(next(self._pauses, tags.AGAIN_SECONDS_MAX))


async def status(core: Core, session: str) -> Status:
    """`job.status`."""
    return Status((await core.call("job.status", (session,))).value)


async def wait(core: Core, session: str, timeout: float | None, progress: Progress) -> Status:
    """Waits for the job's end, by long polls."""
    line = bar(progress)
    end = None if timeout is None else time.monotonic() + timeout
    patience = Patience(core)
    found: Status | None = None
    try:
        while True:
            left = WATCH_SECONDS if line else WAIT_SECONDS
            if end is not None:
                left = max(0.0, min(left, end - time.monotonic()))
            try:
                found = await poll(core, session, left)
                patience.well()
            except (OSError, Fault) as wrong:
                if end is not None and time.monotonic() >= end:
                    raise
                await patience.after(wrong)
                continue
            if line:
                line.status(session, found)
            if found.ended:
                return found
            if end is not None and time.monotonic() >= end:
                raise WaitTimeout(session, found)
            if found.get("retry"):  # this server is about to be replaced
                await core.network.pause(0.2)
    finally:
        if line:
            line.end()


async def poll(core: Core, session: str, seconds: float) -> Status:
    """One wait of at most `seconds`. A server that has no `job.wait` is asked for the status."""
    if "job.wait" not in core.lacks:
        try:
            reply = await core.call("job.wait", (session, float(seconds)), wait_seconds=seconds)
            return Status(reply.value)
        except NoSuchMethod:
            core.lacks.add("job.wait")
    found = await status(core, session)
    if not found.ended:
        await core.network.pause(min(seconds, 0.5))
    return found


async def listing(core: Core, session: str, path: str, recursive: bool) -> list[File]:
    """The files of a directory, sorted by path; with `recursive` all below it."""
    files: list[File] = []
    due = [clean_path(path)]
    while due:
        under = due.pop()
        found = await _directory(core, session, under)
        files += found
        if len(files) > FILES_MAX:
            raise ValueError(f"the sandbox has more than {FILES_MAX} files")
        if recursive:
            due += [file.path for file in found if file.directory]
            if under.count("/") > DIRECTORY_DEPTH_MAX:
                raise ValueError(f"the sandbox is deeper than {DIRECTORY_DEPTH_MAX} directories")
    return sorted(files)


async def read(core: Core, session: str, path: str, offset: int, length: int) -> bytes:
    """Bytes of a file: `length` of them, or all from `offset` on with -1."""
    if offset < 0 or length < -1:
        raise ValueError("offset and length are not negative (length -1: to the end)")
    if length == 0:
        return b""
    last = "" if length < 0 else str(offset + length - 1)
    headers = {"Range": f"bytes={offset}-{last}"} if offset or last else {}
    patience = Patience(core, READ_PATIENCE_SECONDS)
    while True:
        try:
            response = await _get(core, session, path, headers)
            try:
                data = b"" if response.status == 416 else await response.read(READ_BYTES_MAX)
            finally:
                response.close()
        except (OSError, Fault) as wrong:
            await patience.after(wrong)
            continue
        if response.status == 200 and headers:  # a server that does not send parts
            data = data[offset:] if length < 0 else data[offset : offset + length]
        return data


async def download(
    core: Core, session: str, path: str | None, to: str, progress: Progress, resume: bool
) -> list[str]:
    """Brings a file, a directory, or the whole sandbox; the paths of what is here now."""
    line = bar(progress)
    try:
        whole = clean_path(path or "")
        if whole and not await _is_directory(core, session, whole):
            local = os.path.join(to, plain_name(whole.rpartition("/")[2])) if _is_folder(to) else to
            await _bring(core, session, whole, local, line, resume)
            return [local]
        made = []
        above = len(whole.rpartition("/")[0]) + 1 if "/" in whole else 0
        os.makedirs(to, exist_ok=True)
        if whole:
            _make_folder(to, whole[above:])
        for file in await listing(core, session, whole, recursive=True):
            relative = file.path[above:]
            if file.directory:
                _make_folder(to, relative)
                continue
            local = os.path.join(to, *map(plain_name, relative.split("/")))
            try:
                await _bring(core, session, file.path, local, line, resume)
            except NotFound:
                continue  # removed since it was listed
            made.append(local)
        return made
    finally:
        if line:
            line.end()


async def upload(core: Core, session: str, local: Local, path: str, progress: Progress) -> int:
    """Sends a file; its size as the server has it. What was there is replaced once all has come."""
    name = clean_path(path)
    if not name:
        raise ValueError("an upload needs a path in the sandbox")
    line = bar(progress)
    patience = Patience(core)
    with contextlib.ExitStack() as opened:
        file: BinaryIO | None = None
        if isinstance(local, (str, os.PathLike)):
            file = opened.enter_context(open(local, "rb"))
        elif not isinstance(local, bytes):
            file = local
        begin = 0 if file is None else file.tell()
        size = len(local) if isinstance(local, bytes) else _left_in(file)

        def pieces() -> Iterator[bytes]:
            if file is not None:
                file.seek(begin)
            sent = 0
            while sent < size:
                piece = local[sent : sent + CHUNK_BYTES] if isinstance(local, bytes) else _some(file, size - sent)
                if not piece:
                    raise ValueError("the file became shorter while it was sent")
                yield piece
                sent += len(piece)
                if line:
                    line.bytes(name, sent, size)

        try:
            while True:
                try:
                    return await _put(core, session, name, pieces, size)
                except (OSError, Fault) as wrong:
                    # It is replaced as a whole: to send it again changes nothing more.
                    await patience.after(wrong)
        finally:
            if line:
                line.end()


class Tail:
    """What is written to a file, as it comes: text, or bytes with `binary=True`."""

    def __init__(self, core: Core, session: str, path: str, follow: bool, start: int, binary: bool) -> None:
        self._core = core
        self._session = session
        self._path = clean_path(path)
        self._follow = follow
        self._at = start
        self._decoder = None if binary else codecs.getincrementaldecoder("utf-8")("replace")
        self._response: Response | None = None
        self._ended = False
        self._patience = Patience(core)
        self._done = False

    async def next(self) -> str | bytes | None:
        """The next piece; None at the end."""
        try:
            return await self._next()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends what is open."""
        self._done = True
        if self._response is not None:
            self._response.close()
            self._response = None

    async def _next(self) -> str | bytes | None:
        while not self._done:
            try:
                piece = await self._piece()
                self._patience.well()
            except (OSError, Fault) as wrong:
                self._drop()
                await self._patience.after(wrong)
                continue
            if piece:
                text = self._decoder.decode(piece) if self._decoder else piece
                if text:
                    return text
            elif self._ended or not self._follow:
                self._done = True
                rest = self._decoder.decode(b"", True) if self._decoder else ""
                return rest or None
            else:
                await self._wait()
        return None

    async def _piece(self) -> bytes:
        """Some more bytes, none if there are no more now."""
        if self._response is None:
            headers = {"Range": f"bytes={self._at}-" if self._at >= 0 else f"bytes={self._at}"}
            try:
                response = await _get(self._core, self._session, self._path, headers)
            except NotFound:
                if not self._follow:
                    raise
                return b""  # a job that has not begun has written nothing
            if response.status == 416:
                total = (response.header("content-range") or "").rpartition("/")[2]
                response.close()
                if total.isdigit() and int(total) < self._at:
                    self._at = 0  # it was cut short: what is written now is new
                    return await self._piece()
                self._at = max(self._at, 0)
                return b""
            if response.status == 206:
                found = _RANGE.fullmatch(response.header("content-range") or "")
                self._at = int(found.group(1)) if found else max(self._at, 0)
            elif self._at:
                size = response.header("content-length") or ""
                if self._at > 0 or (size.isdigit() and int(size) > -self._at):
                    response.close()
                    raise self._core.failure(ValueError("the server does not send parts of files"))
                self._at = 0
            self._response = response
        piece = await self._response.chunk()
        self._at += len(piece)
        if not piece:
            self._drop()
        return piece

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    async def _wait(self) -> None:
        """Waits a moment, or for the job's end, after which what is left is read once more."""
        found = await self._tried(FOLLOW_SECONDS)
        self._ended = found is not None and (found.ended or found.state == "")

    async def _tried(self, seconds: float) -> Status | None:
        try:
            return await poll(self._core, self._session, seconds)
        except (OSError, Fault) as wrong:
            await self._patience.after(wrong)
            return None


async def _get(core: Core, session: str, path: str, headers: dict[str, str], directory: bool = False) -> Response:
    """A file's answer (200, 206, 304 or 416); its fault otherwise."""
    address = target(core.options.path, session, path, directory)
    response = await core.open("GET", address, headers, seconds_max=7 * 86400.0)
    if response.status in (200, 206, 304, 416):
        return response
    try:
        raise await response.refusal()
    finally:
        response.close()


async def _directory(core: Core, session: str, path: str) -> list[File]:
    patience = Patience(core)
    while True:
        try:
            response = await _get(core, session, path, {"Accept": "application/json"}, directory=True)
            try:
                data = await response.read(LISTING_BYTES_MAX)
                kind = response.kind()
            finally:
                response.close()
            break
        except (OSError, Fault) as wrong:
            await patience.after(wrong)
    try:
        if kind != "application/json":
            raise ValueError("the server's answer is no list of files")
        files, cut = entries(json.loads(data), path)
    except (ValueError, RecursionError) as wrong:
        raise core.failure(ValueError(str(wrong))) from None
    if cut:
        raise core.failure(ValueError(f"the directory {path or '/'!r} has more files than the server lists"))
    return files


async def _is_directory(core: Core, session: str, path: str) -> bool:
    """Whether a path is a directory: the server then answers with its address and a slash."""
    patience = Patience(core)
    while True:
        try:
            response = await core.open("HEAD", target(core.options.path, session, path), {})
            response.close()
        except (OSError, Fault) as wrong:
            await patience.after(wrong)
            continue
        if response.status in (301, 302, 307, 308):
            return True
        if response.status == 503:
            await patience.after(Unavailable(503, "the server is busy"))
            continue
        if response.status != 200:
            raise await _refused(core, session, path)
        return False


async def _refused(core: Core, session: str, path: str) -> Fault:
    """The fault for a path that HEAD refused without a word."""
    try:
        (await _get(core, session, path, {})).close()
    except Fault as fault:
        return fault
    return Unavailable(503, "the file comes and goes")


async def _bring(core: Core, session: str, path: str, local: str, line: Bar | None, resume: bool) -> None:
    """Brings one file beside its place, and puts it there once it is whole."""
    patience = Patience(core)
    while True:
        try:
            if await _bring_once(core, session, path, local, line, resume):
                return
        except (OSError, Fault) as wrong:
            if isinstance(wrong, OSError) and not isinstance(wrong, errors.TransportError):
                raise
            await patience.after(wrong)
            resume = True  # what has come of it in this very call is as good as new


async def _bring_once(core: Core, session: str, path: str, local: str, line: Bar | None, resume: bool) -> bool:
    part, version = local + _PART, local + _VERSION
    known = _known_version(version) if resume else None
    headers: dict[str, str] = {}
    begin = 0
    if known and known[0] == _owner(session, path) and os.path.exists(part):
        begin = os.lstat(part).st_size
        headers = {"Range": f"bytes={begin}-", "If-Range": known[1]} if begin else {}
    response = await _get(core, session, path, headers)
    try:
        if response.status == 416 or (response.status == 206 and not begin):
            _remove(part, version)
            return False
        total, etag = _total(core, response, begin), response.header("etag") or ""
        if response.status == 200:
            begin = 0
            if resume and _is_here(local, total, response.header("last-modified")):
                if line:
                    line.bytes(path, total, total)
                return True
        # Only a strong validator tells that what comes later is of the same bytes.
        _write_version(version, _owner(session, path), etag if etag.startswith('"') else "")
        with _open_part(part, begin) as file:
            done = begin
            while True:
                piece = await response.chunk()
                if not piece:
                    break
                file.write(piece)
                done += len(piece)
                if line:
                    line.bytes(path, done, total)
        if line and not total:
            line.bytes(path, 0, 0)
        if done != total:
            _remove(part, version)
            raise core.failure(ValueError(f"{path}: {done} bytes came, {total} were announced"))
        _set_time(part, response.header("last-modified"))
        os.replace(part, local)
        _remove(version)
        return True
    finally:
        response.close()


async def _put(core: Core, session: str, path: str, pieces: Callable[[], Iterator[bytes]], size: int) -> int:
    seconds = TRANSFER_SECONDS + size / TRANSFER_BYTES_EACH_SECOND
    address = target(core.options.path, session, path)
    kind = {"Content-Type": "application/octet-stream"}
    response = await core.open("PUT", address, kind, pieces, size, seconds_max=seconds)
    try:
        if response.status not in (200, 201):
            raise await response.refusal()
        try:
            stored = xmlcall.result(await response.read(CHUNK_BYTES))
        except ValueError as wrong:
            raise core.failure(ValueError(str(wrong))) from None
    finally:
        response.close()
    if stored != size:
        raise core.failure(ValueError(f"{path}: {size} bytes were sent, the server has {stored}"))
    return size


def _total(core: Core, response: Response, begin: int) -> int:
    """The size of the whole file, as the answer announces it."""
    if response.status == 206:
        found = _RANGE.fullmatch(response.header("content-range") or "")
        if not found or int(found.group(1)) != begin:
            raise core.failure(ValueError("the server sent another part of the file than was asked for"))
        return int(found.group(3))
    length = response.header("content-length")
    if length is None or not length.isdigit():
        raise core.failure(ValueError("the server does not say how large the file is"))
    return int(length)


def _is_folder(to: str) -> bool:
    return to.endswith(os.sep) or os.path.isdir(to)


def _make_folder(to: str, relative: str) -> None:
    """Makes a directory below `to`, name by name; a link that lies in its way is not followed."""
    place = to
    for name in relative.split("/"):
        place = os.path.join(place, plain_name(name))
        try:
            os.mkdir(place)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                raise NotADirectoryError(f"{place} is in the way: it is no directory") from None


def _open_part(path: str, begin: int) -> BinaryIO:
    """The file that a download grows in, ready to be written at `begin`."""
    file = os.fdopen(_own(path), "wb")
    file.truncate(begin)
    file.seek(begin)
    return file


def _own(path: str) -> int:
    """A plain file of one's own without a second name, open for writing; in a directory where others write they may
    have laid anything there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    file = os.open(path, flags, 0o666)
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1:
        return file
    os.close(file)
    raise OSError(f"{path} is there, and is no plain file of yours alone")


def _owner(session: str, path: str) -> str:
    """Whose part it is: a digest, since a session's id is a secret."""
    return hashlib.sha256(f"{session}/{path}".encode()).hexdigest()


def _known_version(path: str) -> tuple[str, str] | None:
    try:
        with open(path, encoding="ascii") as file:
            owner, etag = file.read(4096).split("\n", 1)
    except (OSError, ValueError):
        return None
    return (owner, etag) if etag.startswith('"') and "\n" not in etag else None


def _write_version(path: str, owner: str, etag: str) -> None:
    with os.fdopen(_own(path), "w", encoding="ascii", errors="replace") as file:
        file.truncate(0)
        file.write(f"{owner}\n{etag}")


def _is_here(local: str, total: int, modified: str | None) -> bool:
    """Whether a file that is here already is the one that would come."""
    when = _moment(modified)
    try:
        found = os.lstat(local)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == total and when is not None and found.st_mtime == when


def _set_time(path: str, modified: str | None) -> None:
    when = _moment(modified)
    if when is not None:
        os.utime(path, (when, when))


def _moment(text: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except (TypeError, ValueError, OverflowError):
        return None


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _left_in(file: BinaryIO | None) -> int:
    """How many bytes are left in a file that can be sought."""
    if file is None:
        return 0
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end - here


def _some(file: BinaryIO | None, left: int) -> bytes:
    return b"" if file is None else file.read(min(CHUNK_BYTES, left))
