"""The client for asyncio: the same as `nesssi.client`, with `await` before each call.

    async with nesssi.aio.client("https://localhost:8443/clarens/") as svr:
        session = await svr.sleepy.sleepyAdd(20, 3, 5)
        async for text in session.tail():
            print(text, end="")
        print(await session.status())

Many calls may run at once (`asyncio.gather`), over at most 100 connections. A call that is cancelled ends its connection, and
nothing else. The certificate's key may be asked for when the client is made, which blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from typing import Any, AsyncIterator

from nesssi import acts, core, remote, tags
from nesssi.acts import Local
from nesssi.core import Core, Options
from nesssi.progress import Progress
from nesssi.session_values import File, Status, is_id, session_of_url

_LOGOUT_SECONDS_MAX = 5


def client(url: str, *files: str | None, **options: Any) -> Client:
    """A client of the server at `url`; files and options are those of `nesssi.connection.Client`."""
    return Client(url, *files, **options)


class Client:
    """The calls to one server. See `nesssi.connection.Client` for the options."""

    def __init__(
        self, url: str, certfile: str | None = None, keyfile: str | None = None, **options: Any
    ) -> None:
        self._options = Options.of(url, certfile, keyfile, **options)
        self._progress: Progress = options.get("progress_cb")
        self._core = Core(self._options, _Loops())
        self._tag: str | None = None
        self._login_lock: tuple[Any, asyncio.Lock] | None = None

    def with_tag(self, tag: str) -> Client:
        """This client, whose calls carry `tag`: the same call with the same tag is carried out once."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._tag = tags.checked(tag)
        return view

    async def aclose(self) -> None:
        """Ends the login, if there is one, and the connections. A later call makes new ones."""
        if self._core.login:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._core.call("system.logout", ()), _LOGOUT_SECONDS_MAX)
            self._core.login = None
        self._core.close()

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(self, name)

    def __getitem__(self, name: str) -> Method:
        return Method(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *remote.below(self._core.names, "")})

    def __repr__(self) -> str:
        return f"<nesssi asyncio client of {self._options.url}>"

    async def __aenter__(self) -> Client:
        await self._log_in()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _log_in(self) -> None:
        """Logs in at the first call, if that was asked for."""
        if not self._options.do_login or self._core.login:
            return
        loop = asyncio.get_running_loop()
        if self._login_lock is None or self._login_lock[0] is not loop:
            self._login_lock = (loop, asyncio.Lock())
        async with self._login_lock[1]:
            if not self._core.login:
                await self._core.log_in()

    async def _call(self, method: str, params: tuple[Any, ...]) -> Any:
        await self._log_in()
        reply = await self._core.call(method, params, self._tag)
        if reply.session is not None:
            return Session(reply.session, self, reply.url)
        return reply.value


class Method:
    """A method by its name: call it and await the result, or go on to a longer name."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(self._client, f"{self._name}.{name}")

    async def __call__(self, *params: Any) -> Any:
        return await self._client._call(self._name, params)

    def __dir__(self) -> list[str]:
        return remote.below(self._client._core.names, self._name)

    def __repr__(self) -> str:
        return f"<method {self._name} of {self._client._options.url}>"


async def methods(of: Client | Method) -> list[str]:
    """The names of the methods below a client or a service. `dir` and completion know them from then on."""
    view = of if isinstance(of, Client) else of._client
    name = "" if isinstance(of, Client) else of._name
    known = await remote.names(view._core)
    return [one for one in known if not name or one.startswith(f"{name}.")]


async def help(method: Method) -> str:
    """What the server says of a method or a service."""
    return await remote.help_of(method._client._core, method._name)


class Session(str):
    """A session: its id, which is a `str`, and what can be done with it. See `nesssi.connection.Session`."""

    _client: Client
    _url: str | None

    def __new__(cls, session: str, client: Client, url: str | None = None) -> Session:
        if not is_id(str(session)):
            raise ValueError("a session's id is 32 hex digits")
        made = str.__new__(cls, session)
        made._client = client
        made._url = url if url is not None and session_of_url(url) == session else None
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)

    async def url(self) -> str:
        """The address under which a browser reads the sandbox."""
        if self._url is None:
            self._url = str((await self._core.call("session.url", (str(self),))).value)
        return self._url

    async def status(self) -> Status:
        """What is known of its job."""
        return await acts.status(self._core, str(self))

    async def wait(self, timeout: float | None = None, progress: Progress = False) -> Status:
        """Waits for the job's end; `nesssi.WaitTimeout` after `timeout` seconds. Outlives a server's restart."""
        return await acts.wait(self._core, str(self), timeout, self._shown(progress))

    async def files(self, path: str = "", recursive: bool = False) -> list[File]:
        """The files in the sandbox, or in one of its directories."""
        return await acts.listing(self._core, str(self), path, recursive)

    async def read(self, path: str, offset: int = 0, length: int = -1) -> bytes:
        """The bytes of a file, at most 256 MiB; `download` brings larger ones."""
        return await acts.read(self._core, str(self), path, offset, length)

    async def download(
        self, path: str | None = None, to: str = ".", progress: Progress = False, resume: bool = True
    ) -> list[str]:
        """Brings a file, a directory, or the whole sandbox; the paths of what is here now."""
        shown = self._shown(progress)
        return await acts.download(self._core, str(self), path, os.fspath(to), shown, resume)

    async def upload(self, local: Local, path: str, progress: Progress = False) -> int:
        """Sends a file (its path, an open one, or bytes) to `path` in the sandbox; its size."""
        return await acts.upload(self._core, str(self), local, path, self._shown(progress))

    async def tail(
        self, path: str = "stdout", follow: bool = True, start: int = 0, binary: bool = False
    ) -> AsyncIterator[Any]:
        """What stands in a file from `start` on, and what is written to it until the job ends."""
        tail = acts.Tail(self._core, str(self), path, follow, start, binary)
        try:
            while True:
                piece = await tail.next()
                if piece is None:
                    return
                yield piece
        finally:
            tail.close()

    async def cancel(self) -> str:
        """Ends the job."""
        return str(await self._client["job.cancel"](str(self)))

    async def extend(self, seconds: float) -> Any:
        """Keeps the session for so many seconds from now; its new end."""
        return await self._client["session.extend"](str(self), seconds)

    async def destroy(self) -> bool:
        """Removes the session with its files. Its job must have ended."""
        return bool(await self._client["session.destroy"](str(self)))

    @property
    def _core(self) -> Core:
        return self._client._core

    def _shown(self, progress: Progress) -> Progress:
        return self._client._progress if progress is False and self._client._progress else progress


class _Loops:
    """The network as an event loop sees it. A client may be used in one loop after the other."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        # Made in its loop: Python 3.9 binds it to one.
        self._places: asyncio.Semaphore | None = None

    async def connect(self, host: str, port: int, context: ssl.SSLContext, deadline: float) -> core.Stream:
        loop = asyncio.get_running_loop()
        opened = loop.create_task(asyncio.open_connection(host, port, ssl=context, limit=4 * core.CHUNK_BYTES))
        try:
            await asyncio.wait({opened}, timeout=max(0.0, deadline - time.monotonic()))
        except BaseException:
            _give_up(opened)
            raise
        if not opened.done():
            _give_up(opened)
            raise TimeoutError
        reader, writer = opened.result()
        raw = writer.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Connection(reader, writer)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def enter(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self._places is None:
            self._loop = loop
            self._places = asyncio.Semaphore(core.CONNECTIONS_MAX)
        await self._places.acquire()

    def leave(self) -> None:
        if self._places is not None:
            self._places.release()


class _Connection:
    """A connection in its loop. What is late is ended, and then said to be late."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._late = False

    async def send(self, data: bytes, deadline: float) -> None:
        with self._until(deadline):
            self._writer.write(data)
            await self._writer.drain()

    async def receive(self, deadline: float) -> bytes:
        with self._until(deadline):
            return await self._reader.read(core.CHUNK_BYTES)

    def is_usable(self) -> bool:
        if self._process != os.getpid() or asyncio.get_running_loop() is not self._loop:
            return False
        return not (self._reader.at_eof() or self._writer.is_closing() or self._reader.exception())

    def close(self) -> None:
        # Of a loop that has ended nothing can be asked any more.
        if not self._loop.is_closed():
            self._writer.transport.abort()

    @contextlib.contextmanager
    def _until(self, deadline: float) -> Any:
        """Ends the connection at the deadline: no task is cancelled, and no cancelling is swallowed."""
        timer = self._loop.call_later(max(0.0, deadline - time.monotonic()), self._give_up)
        try:
            yield
        except (OSError, asyncio.IncompleteReadError):
            if self._late:
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()
        if self._late:
            raise TimeoutError

    def _give_up(self) -> None:
        self._late = True
        self._writer.transport.abort()


def _give_up(opened: asyncio.Task[Any]) -> None:
    """Ends a connection that nobody waits for any more, whenever it comes."""

    def ended(task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is None:
            task.result()[1].transport.abort()

    opened.cancel()
    opened.add_done_callback(ended)
