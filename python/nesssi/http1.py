"""HTTP/1.1 as a client speaks it, without a socket: a request's head as bytes, an answer read from bytes.

An `Answer` is fed what came, and gives back what of it is body; every part of it is bounded. The client for
threads and the one for asyncio read with this.

    >>> answer = Answer("GET")
    >>> answer.feed(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhel")
    [b'hel']
    >>> answer.status, answer.header("content-length"), answer.done
    (200, '5', False)
    >>> answer.feed(b"lo")
    [b'lo']
    >>> answer.done, answer.keeps_open
    (True, True)
"""

from __future__ import annotations

HEAD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 128
_CHUNK_LINE_BYTES_MAX = 1024
_INTERIM_MAX = 8
_HEX = frozenset("0123456789abcdefABCDEF")


def request_head(method: str, target: str, headers: dict[str, str]) -> bytes:
    """The bytes of a request's head; ValueError for what would end a line of it."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    for line in lines:
        if "\r" in line or "\n" in line or "\0" in line:
            raise ValueError(f"a header cannot hold a line's end: {line[:60]!r}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Answer:
    """One answer: feed it until it is `done`, or tell it with `end` that the connection ended."""

    def __init__(self, method: str) -> None:
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        # Whether the head has come; whether all has.
        self.begun = False
        self.done = False
        self.keeps_open = False
        self._method = method
        self._rest = b""
        # Bytes of the body that are still to come, None where only the end of the connection tells.
        self._left: int | None = 0
        self._is_chunked = False
        # Whether what is left belongs to a chunk (whose end is a line's), and whether trailers come.
        self._in_chunk = False
        self._in_trailer = False
        self._trailer_bytes = 0
        self._interims = 0

    def header(self, name: str) -> str | None:
        """A header's value, by its name in lower case."""
        return self.headers.get(name)

    def feed(self, data: bytes) -> list[bytes]:
        """What of `data` is body; ValueError for what is no HTTP/1.1 or goes beyond a bound."""
        out: list[bytes] = []
        self._rest += data
        if not self.begun and not self._read_head():
            return out
        if self._is_chunked:
            self._read_chunks(out)
        elif not self.done:
            self._read_plain(out)
        if self.done and self._rest:
            self.keeps_open = False  # it says more than it was asked
        return out

    def end(self) -> None:
        """The connection ended: that is the end of a body without a length, and of nothing else."""
        if self.begun and self._left is None and not self._is_chunked:
            self.done = True
        if not self.done:
            raise EOFError("the connection ended in the middle of the answer")

    def _read_head(self) -> bool:
        while True:
            at = self._rest.find(b"\r\n\r\n")
            if at > HEAD_BYTES_MAX or (at < 0 and len(self._rest) > HEAD_BYTES_MAX):
                raise ValueError(f"the head of the answer is longer than {HEAD_BYTES_MAX} bytes")
            if at < 0:
                return False
            head, self._rest = self._rest[:at], self._rest[at + 4 :]
            self._parse_head(head.decode("latin-1"))
            if self.status >= 200:
                self._frame()
                return True
            self._interims += 1
            if self.status == 101 or self._interims > _INTERIM_MAX:
                raise ValueError("the server answers something that was not asked")

    def _parse_head(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        version, _, rest = first.partition(" ")
        code, _, self.reason = rest.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or len(code) != 3 or not (code.isascii() and code.isdigit()):
            raise ValueError(f"the server does not speak HTTP/1.1: {first[:60]!r}")
        if len(lines) > HEADERS_MAX:
            raise ValueError(f"the answer has more than {HEADERS_MAX} headers")
        self.status = int(code)
        self.headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            name = name.lower()
            if not colon or not name or name != name.strip():
                raise ValueError("a header of the answer is malformed")
            if name in self.headers:
                if name in ("content-length", "transfer-encoding") and self.headers[name] != value.strip():
                    raise ValueError("the answer has two lengths")
                if name not in ("content-length", "transfer-encoding"):
                    self.headers[name] += ", " + value.strip()
            else:
                self.headers[name] = value.strip()
        said = self.headers.get("connection", "").lower()
        self.keeps_open = version == "HTTP/1.1" and "close" not in said

    def _frame(self) -> None:
        """How long the body is (RFC 9112, section 6.3)."""
        self.begun = True
        coding = self.headers.get("transfer-encoding")
        length = self.headers.get("content-length")
        if self._method == "HEAD" or self.status in (204, 304):
            self.done = True
        elif coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise ValueError("the length of the answer is not clear")
            self._is_chunked = True
        elif length is not None:
            if not (length.isascii() and length.isdigit()) or len(length) > 18:
                raise ValueError("the length of the answer is no number")
            self._left = int(length)
            self.done = self._left == 0
        else:
            self._left = None
            self.keeps_open = False

    def _read_plain(self, out: list[bytes]) -> None:
        data, self._rest = self._rest, b""
        if self._left is not None:
            data, self._rest = data[: self._left], data[self._left :]
            self._left -= len(data)
            self.done = self._left == 0
        if data:
            out.append(data)

    def _read_chunks(self, out: list[bytes]) -> None:
        while not self.done:
            if self._left:
                data, self._rest = self._rest[: self._left], self._rest[self._left :]
                if not data:
                    return
                self._left -= len(data)
                out.append(data)
                continue
            line = self._line()
            if line is None:
                return
            if self._in_chunk:
                if line:
                    raise ValueError("a chunk of the answer is longer than it said")
                self._in_chunk = False
            elif self._in_trailer:
                self._trailer_bytes += len(line)
                if self._trailer_bytes > HEAD_BYTES_MAX:
                    raise ValueError("the trailer of the answer is too long")
                self.done = not line
            else:
                size = line.partition(b";")[0].strip().decode("latin-1")
                if not 0 < len(size) <= 15 or not set(size) <= _HEX:
                    raise ValueError("a chunk of the answer has no length")
                self._left = int(size, 16)
                self._in_chunk = self._left > 0
                self._in_trailer = self._left == 0

    def _line(self) -> bytes | None:
        at = self._rest.find(b"\r\n")
        if at > _CHUNK_LINE_BYTES_MAX or (at < 0 and len(self._rest) > _CHUNK_LINE_BYTES_MAX):
            raise ValueError("a line of the answer is too long")
        if at < 0:
            return None
        line, self._rest = self._rest[:at], self._rest[at + 2 :]
        return line
