"""What both clients do, written once: calls that are sent again where that is safe, over a pool of connections.

It is written with `async def` over a `Network`. The one of `nesssi.aio` waits in asyncio; the one of
`nesssi.connection` blocks where it waits, so that its coroutines never stop in the middle and `drive` runs them
to their end like plain functions: there is no thread and no event loop in it.
"""

from __future__ import annotations

import base64
import dataclasses
import re
import secrets
import socket
import ssl
import sys
import threading
import time
from typing import Any, Callable, Coroutine, Iterator, Protocol, TypeVar, Union
from urllib.parse import urlsplit

from nesssi import credentials, errors, jsoncall, session_values, tags, xmlcall
from nesssi.credentials import Callback, Credential
from nesssi.fault import BatchRefused, CallLost, Conflict, Fault, NoSuchMethod, Unavailable, fault_of
from nesssi.http1 import Answer, request_head

REPLY_BYTES_MAX = 256 * 1024 * 1024
# A whole answer may take this long; what a silent server is waited for is the client's `timeout`.
CALL_SECONDS_MAX = 3600.0
CONNECT_SECONDS_MAX = 30.0
CONNECTIONS_MAX = 100
IDLE_SECONDS_MAX = 15.0
CHUNK_BYTES = 64 * 1024
_REFUSAL_BYTES_MAX = 64 * 1024
# The password by which a login is asked for; it is no secret, and never taken for one.
_LOGIN_REQUEST = "BROWSER"

T = TypeVar("T")
Body = Union[bytes, Callable[[], Iterator[bytes]]]


class Stream(Protocol):
    """One connection. Deadlines are of `time.monotonic`; beyond them TimeoutError."""

    async def send(self, data: bytes, deadline: float) -> None:
        """Sends all of `data`."""

    async def receive(self, deadline: float) -> bytes:
        """Some bytes; none at the end."""

    def is_usable(self) -> bool:
        """Whether an idle connection can carry another call, as far as can be known."""

    def close(self) -> None:
        """Ends it at once."""


class Network(Protocol):
    """How a client waits."""

    async def connect(self, host: str, port: int, context: ssl.SSLContext, deadline: float) -> Stream:
        """A new connection, after its handshake."""

    async def pause(self, seconds: float) -> None:
        """Waits."""

    async def enter(self) -> None:
        """Waits for a place among the connections."""

    def leave(self) -> None:
        """Gives the place back."""


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that waits for nothing but what blocks."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking client has no event loop to wait in")


@dataclasses.dataclass
class Options:
    """What a client was told, checked."""

    url: str
    host: str
    port: int
    path: str
    timeout: float = 120.0
    account: str | None = None
    debug: int = 0
    rpc: str = "xmlrpc"
    do_login: bool = False
    credential: Credential | None = None
    cafile: str | None = None
    passwd: str | None = None
    callback: Callback | None = None

    @classmethod
    def of(
        cls,
        url: str,
        certfile: str | None = None,
        keyfile: str | None = None,
        *,
        debug: int = 0,
        passwd: str | None = None,
        guest: int = 0,
        cafile: str | None = None,
        callback: Callback | None = None,
        cert_text: str | None = None,
        key_text: str | None = None,
        timeout: float = 120,
        do_login: int = 0,
        progress_cb: Any = None,
        rpc: str = "xmlrpc",
        account: str | None = None,
        **others: Any,
    ) -> Options:
        """Checks the options of a client; see `nesssi.connection.Client`."""
        if others.pop("async", None):
            raise ValueError("async is not supported here: use nesssi.aio.client, whose calls are awaited")
        if others:
            raise TypeError(f"nesssi.client has no option {sorted(others)[0]!r}")
        if rpc not in ("xmlrpc", "jsonrpc"):
            raise ValueError("rpc is 'xmlrpc' or 'jsonrpc'")
        if progress_cb is not None and not callable(progress_cb):
            raise TypeError("progress_cb is a function")
        if not 0 < timeout <= CALL_SECONDS_MAX:
            raise ValueError(f"timeout is seconds, more than 0 and at most {CALL_SECONDS_MAX:.0f}")
        host, port, path = parts(url)
        found = None if guest else credentials.find(certfile, keyfile, cert_text, key_text)
        login = bool(do_login) and not guest
        given = (timeout, account, debug, rpc, login, found, cafile, passwd, callback)
        return cls(url, host, port, path, *given)


class Reply:
    """A call's result, and the address of the session that it made, if it made one."""

    def __init__(self, value: Any, session: str | None, url: str | None) -> None:
        self.value = value
        self.session = session
        self.url = url


class Core:
    """The calls to one server."""

    def __init__(self, options: Options, network: Network) -> None:
        self.options = options
        self.network = network
        self.login: tuple[str, str] | None = None
        self._idle: list[tuple[Stream, float]] = []
        self._lock = threading.Lock()
        self._stamp = credentials.stamp(options.credential)
        self._context = self._new_context()
        # Whether a connection was ever made: until then a wrong address is told at once.
        self.has_worked = False
        # Whether the server keeps answers by their tags; asked for when it first matters.
        self._keeps_tags: bool | None = None
        self._codec: Any = jsoncall if options.rpc == "jsonrpc" else xmlcall
        # Names and helps, asked for once.
        self.names: list[str] | None = None
        self.helps: dict[str, str] = {}
        # Methods that this server was found not to have.
        self.lacks: set[str] = set()

    async def call(
        self, method: str, params: tuple[Any, ...], tag: str | None = None, wait_seconds: float = 0.0
    ) -> Reply:
        """Calls, and sends it again where that is safe; raises the server's `Fault`, or a `TransportError`.

        `wait_seconds` is how long the server was asked to wait before it answers.
        """
        body = self._codec.request(method, params)
        kind = tags.kind(method)
        if tag is None and kind is tags.Kind.TAGGED:
            tag = tags.new()
        elif kind is tags.Kind.ONCE:
            tag = None
        pauses = tags.pauses()
        while True:
            try:
                return await self._once(method, body, tag, wait_seconds)
            except errors.CannotConnect:
                pause = next(pauses, None)
                if pause is None or kind is tags.Kind.ONCE or not self.has_worked:
                    raise
            except Conflict as fault:
                raise _told_by_tag(fault, tag) from None
            except (errors.ReplyLost, errors.TimedOut, Unavailable, BatchRefused) as wrong:
                if isinstance(wrong, (errors.ReplyLost, errors.TimedOut)):
                    wrong.tag = tag
                pause = next(pauses, None)
                if pause is None or kind is tags.Kind.ONCE or not _is_passing(wrong):
                    raise
                if kind is not tags.Kind.READ and not await self._knows_tags(method, tag):
                    raise
            await self.network.pause(pause)

    async def open(
        self,
        verb: str,
        target: str,
        headers: dict[str, str],
        body: Body = b"",
        length: int | None = None,
        seconds_max: float | None = None,
        silence_seconds_max: float | None = None,
    ) -> Response:
        """Sends a request and waits for the head of its answer. The `Response` must be closed."""
        await self.network.enter()
        stream: Stream | None = None
        try:
            silence = silence_seconds_max or self.options.timeout
            stream = await self._connected()
            deadline = time.monotonic() + (CALL_SECONDS_MAX if seconds_max is None else seconds_max)
            response = Response(self, stream, verb, deadline, silence)
            await response.start(self._head(verb, target, headers, body, length), body)
            return response
        except BaseException:
            if stream is not None:
                stream.close()
            self.network.leave()
            raise

    def done_with(self, stream: Stream, reusable: bool) -> None:
        """Takes a connection back, or ends it."""
        if reusable:
            with self._lock:
                self._idle.append((stream, time.monotonic()))
        else:
            stream.close()
        self.network.leave()

    def close(self) -> None:
        """Ends the connections that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for stream, _ in idle:
            stream.close()

    async def log_in(self) -> None:
        """Asks for a login by a token of our own; from then on it stands with the server's secret."""
        token = secrets.token_hex(20)
        self.login = (token, _LOGIN_REQUEST)
        try:
            made = (await self.call("system.auth2", ())).value
            if not (isinstance(made, list) and len(made) == 3 and isinstance(made[2], str)):
                raise ValueError("the server's answer to system.auth2 is no login")
        except BaseException:
            self.login = None
            self.close()
            raise
        self.login = (token, made[2])

    def failure(self, wrong: BaseException) -> errors.TransportError:
        """A failure in the middle of an exchange, by its class."""
        host, port = self.options.host, self.options.port
        if isinstance(wrong, errors.TransportError):
            return wrong
        if isinstance(wrong, (TimeoutError, socket.timeout)):
            advice = "a call may have been carried out; see job.list before you make it again"
            return errors.TimedOut(host, port, "the server did not answer within the time", advice)
        if isinstance(wrong, ValueError) and not isinstance(wrong, ssl.SSLError):
            return errors.BadReply(host, port, str(wrong))
        return errors.of_exchange(wrong, host, port)

    def show(self, arrow: str, text: bytes) -> None:
        """Prints what goes and comes, if that is asked for."""
        if self.options.debug:
            print(f"{arrow} {self.options.url} {text.decode(errors='replace')}", file=sys.stderr)

    async def _once(self, method: str, body: bytes, tag: str | None, wait_seconds: float) -> Reply:
        headers = {"Content-Type": self._codec.CONTENT_TYPE}
        if tag is not None:
            headers["NESSSI-Client-Tag"] = tag
        self.show("->", body)
        silence = self.options.timeout + wait_seconds
        path = self.options.path
        response = await self.open("POST", path, headers, body, silence_seconds_max=silence)
        try:
            data = await response.read(REPLY_BYTES_MAX)
        finally:
            response.close()
        kind = response.kind()
        # A file as it is: only a fault has that type.
        if method == "file.read" and response.status == 200 and self._codec is xmlcall and kind != "text/xml":
            return Reply(data, None, None)
        # What stands in the answer to a login is nobody's to read along.
        self.show("<-", b"(a login)" if method == "system.auth2" else data)
        if kind not in ("text/xml", "application/xml", "application/json", "text/json"):
            said = f"the server's answer is HTTP {response.status} {response.reason}, and no {_NAMES[self._codec]}"
            raise _front(fault_of(response.status, said))
        codec = jsoncall if kind.endswith("json") else xmlcall
        try:
            value = codec.result(data)
        except ValueError as wrong:
            raise errors.BadReply(self.options.host, self.options.port, str(wrong)) from None
        if method == "system.logout":
            self.login = None
        url = response.header("nesssi-session-url")
        if session_values.is_made(method, value, url):
            return Reply(value, value, url)
        return Reply(value, None, None)

    async def _knows_tags(self, method: str, tag: str | None) -> bool:
        """Whether the server keeps answers by tags: if it does not, nothing is ever sent again."""
        if self._keeps_tags is not None or tag is None:
            return bool(self._keeps_tags) and tag is not None
        body = self._codec.request("system.last_call", (tag, method))
        for pause in tags.pauses():
            try:
                await self._once("system.last_call", body, None, 0.0)
                self._keeps_tags = True
            except NoSuchMethod:
                self._keeps_tags = False
            except (errors.TransportError, Unavailable):
                await self.network.pause(pause)
                continue
            except Fault as fault:
                if is_front(fault):
                    await self.network.pause(pause)
                    continue
                self._keeps_tags = True  # such as 404: this call never arrived
            return self._keeps_tags
        return False

    async def _connected(self) -> Stream:
        """A connection that lives as far as can be known, before anything is sent."""
        now = time.monotonic()
        while True:
            with self._lock:
                if not self._idle:
                    break
                stream, since = self._idle.pop()
            if now - since <= IDLE_SECONDS_MAX and stream.is_usable():
                return stream
            stream.close()
        self._renew_context()
        options = self.options
        deadline = now + min(options.timeout, CONNECT_SECONDS_MAX)
        try:
            made = await self.network.connect(options.host, options.port, self._context, deadline)
        except (OSError, EOFError, socket.timeout) as wrong:
            raise errors.of_connecting(_timeout(wrong), options.host, options.port) from wrong
        self.has_worked = True
        return made

    def _renew_context(self) -> None:
        """Takes up a credential whose files have changed, as a proxy that was renewed."""
        found = credentials.stamp(self.options.credential)
        if found and found != self._stamp:
            self._context = self._new_context()
            self._stamp = found

    def _new_context(self) -> ssl.SSLContext:
        options = self.options
        context = credentials.tls_context(options.cafile)
        if options.credential is not None:
            credentials.load(context, options.credential, options.passwd, options.callback)
        return context

    def _head(
        self, verb: str, target: str, headers: dict[str, str], body: Body, length: int | None
    ) -> bytes:
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        full = {"Host": f"{host}:{self.options.port}", "User-Agent": "nesssi-python", **headers}
        if self.login:
            full["Authorization"] = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        if self.options.account is not None:
            full["NESSSI-Account"] = self.options.account
        if verb in ("POST", "PUT"):
            full["Content-Length"] = str(len(body) if isinstance(body, bytes) else length)
        return request_head(verb, target, full)


class Response:
    """An answer whose head has come. `close` it: the connection is kept if all of the body was read."""

    def __init__(self, core: Core, stream: Stream, verb: str, deadline: float, silence: float) -> None:
        self._core = core
        self._stream = stream
        self._answer = Answer(verb)
        self._deadline = deadline
        self._silence = silence
        self._ready: list[bytes] = []
        self._closed = False

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status

    @property
    def reason(self) -> str:
        """The words beside the status."""
        return self._answer.reason

    def header(self, name: str) -> str | None:
        """A header by its name in lower case."""
        return self._answer.header(name)

    def kind(self) -> str:
        """The content type, without parameters."""
        return (self.header("content-type") or "").split(";")[0].strip().lower()

    async def start(self, head: bytes, body: Body) -> None:
        """Sends the request and reads the answer's head."""
        try:
            try:
                if isinstance(body, bytes):
                    await self._stream.send(head + body, self._due())
                else:
                    await self._stream.send(head, self._due())
                    for piece in body():
                        await self._stream.send(piece, self._due())
            except (ConnectionError, ssl.SSLError):
                if isinstance(body, bytes):
                    raise
                # A server that refuses a large body answers before it has come, and closes.
            while not self._answer.begun:
                self._ready += self._feed(await self._stream.receive(self._due()))
        except (OSError, EOFError, ValueError) as wrong:
            raise self._core.failure(wrong) from wrong

    async def chunk(self) -> bytes:
        """The next piece of the body; none at its end."""
        while not self._ready:
            if self._answer.done:
                return b""
            try:
                self._ready += self._feed(await self._stream.receive(self._due()))
            except (OSError, EOFError, ValueError) as wrong:
                raise self._core.failure(wrong) from wrong
        return self._ready.pop(0)

    async def read(self, bytes_max: int) -> bytes:
        """The whole body; `BadReply` if it is longer than `bytes_max`."""
        pieces: list[bytes] = []
        size = 0
        while True:
            piece = await self.chunk()
            if not piece:
                return b"".join(pieces)
            size += len(piece)
            if size > bytes_max:
                raise self._core.failure(ValueError(f"the server's answer is longer than {bytes_max} bytes"))
            pieces.append(piece)

    async def refusal(self) -> Fault:
        """The fault that an answer with an error's status stands for."""
        data = await self.read(_REFUSAL_BYTES_MAX)
        if self.kind() in ("text/xml", "application/xml"):
            try:
                xmlcall.result(data)
            except Fault as fault:
                return fault
            except ValueError:
                pass
        words = data.decode(errors="replace").strip().split("\n")[0] if self.kind() == "text/plain" else ""
        return _front(fault_of(self.status, words[:300] or f"HTTP {self.status} {self.reason}"))

    def close(self) -> None:
        """Gives the connection back."""
        if not self._closed:
            self._closed = True
            self._core.done_with(self._stream, self._answer.done and self._answer.keeps_open)

    def _due(self) -> float:
        return min(self._deadline, time.monotonic() + self._silence)

    def _feed(self, data: bytes) -> list[bytes]:
        if data:
            return self._answer.feed(data)
        self._answer.end()
        return []


def parts(url: str) -> tuple[str, int, str]:
    """Host, port and path of a server's address; ValueError if it is none."""
    found = urlsplit(url)
    if found.scheme != "https" or not found.hostname:
        raise ValueError(f"a server's address is https://host:port/clarens/, not {url!r}")
    if found.username is not None or found.query or found.fragment:
        raise ValueError("a server's address has no user, query or fragment")
    path = found.path if found.path not in ("", "/") else "/clarens/"
    return found.hostname, found.port or 443, path


_NAMES = {xmlcall: "XML-RPC", jsoncall: "JSON-RPC"}
_NOT_AGAIN = "not carried out again"
_SESSION = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def _told_by_tag(fault: Conflict, tag: str | None) -> Conflict:
    """What a conflict over a tag means: that the call was lost on the server's side is a class of its own."""
    if tag is None or not (fault.text.startswith("the call is lost") or _NOT_AGAIN in fault.text):
        return fault
    lost = CallLost(fault.code, fault.text)
    named = _SESSION.search(fault.text)
    lost.session = named.group() if named else None
    return lost


def _front(fault: Fault) -> Fault:
    """A fault that is no answer of NESSSI's own, but of what stands before it."""
    fault.__dict__["_front"] = True
    return fault


def is_front(fault: Fault) -> bool:
    """Whether it says that what stands before NESSSI has no NESSSI behind it now."""
    return fault.code in (502, 503, 504) and bool(fault.__dict__.get("_front"))


def _is_passing(wrong: Exception) -> bool:
    """Whether what went wrong may be well the next time."""
    if isinstance(wrong, Fault):
        return isinstance(wrong, Unavailable) or is_front(wrong)
    return isinstance(wrong, errors.ReplyLost)


def _timeout(wrong: BaseException) -> BaseException:
    """A timeout by the one name that it has since Python 3.10."""
    return TimeoutError() if isinstance(wrong, socket.timeout) else wrong
