"""A client is what calls a server's services: any dotted name under it is a method.

    svr = nesssi.client("https://localhost:8443/clarens/")
    session = svr.sleepy.sleepyAdd(20, 3, 5)
    print(session.wait())

`svr["odd-name.method"](...)` calls what cannot be written with dots; `with nesssi.client(...) as svr:`
closes its connections at its end. `help(svr.sleepy.sleepyAdd)` shows what the server says of a method, `dir(svr.sleepy)`
the methods of a service. The server's certificate is always verified. Threads may share a client.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from typing import Any, Iterator

from nesssi import acts, core, credentials, remote, tags
from nesssi.acts import Local
from nesssi.core import Core, Options, drive
from nesssi.progress import Progress
from nesssi.session_values import File, Status, is_id, session_of_url

_LOGOUT_SECONDS_MAX = 5


class Client:
    """The calls to one server, over connections that are kept open and made anew when they end.

    `url`         https://host:port/path; without a path it is /clarens/
    `debug`       1 prints what is sent and what comes back to stderr
    `certfile`    the certificate (with its chain, if any), a PEM file; without it they are looked
                  for: see `nesssi.credentials`
    `keyfile`     its key, if not in the same file; `passwd` its passphrase, or `callback` asks for it
    `cert_text`, `key_text`   the same as texts instead of files
    `guest`       1 offers no certificate: an anonymous caller
    `account`     the account to be, where the gridmap gives the caller several
    `cafile`      whom to trust: a file or a directory of CA certificates (else `NESSSI_CA`,
                  `X509_CERT_DIR`, /etc/grid-security/certificates and the system's own)
    `timeout`     seconds that a silent server is waited for
    `rpc`         "xmlrpc", or "jsonrpc" to speak JSON-RPC 2.0
    `do_login`    1 logs in with `system.auth2` as programs from before did, and out at the end. It
                  adds nothing here: the certificate is shown, and suffices, with every connection
    `progress_cb` shown the progress of waits and downloads, in place of a line in the terminal

    `async` is refused, if it is set: see `nesssi.aio`.
    """

    def __init__(
        self, url: str, certfile: str | None = None, keyfile: str | None = None, **options: Any
    ) -> None:
        self._options = Options.of(url, certfile, keyfile, **options)
        self._progress: Progress = options.get("progress_cb")
        self._core = Core(self._options, _Blocking())
        self._tag: str | None = None
        # The client that a view by `with_tag` was made of; a login is ended by that one alone.
        self._of: Client | None = None
        if self._options.do_login:
            drive(self._core.log_in())

    def with_tag(self, tag: str) -> Client:
        """This client, whose calls carry `tag`: the same call with the same tag is carried out once.

        svr.with_tag("run-17").sleepy.sleepyAdd(20, 3, 5)
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._tag = tags.checked(tag)
        view._of = self._of or self
        return view

    def close(self) -> None:
        """Ends the login, if there is one, and the connections. A later call makes new ones."""
        self._log_out()
        self._core.close()

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(self, name)

    def __getitem__(self, name: str) -> Method:
        return Method(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *remote.below(self._names(), "")})

    def __repr__(self) -> str:
        return f"<nesssi client of {self._options.url}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        state = self.__dict__
        if "_core" in state and state.get("_of") is None and state["_core"].login:
            self.close()

    def _log_out(self) -> None:
        """Ends the login, if there is one; without the server's help it ends by itself."""
        if not self._core.login:
            return
        before, self._options.timeout = self._options.timeout, _LOGOUT_SECONDS_MAX
        with contextlib.suppress(Exception):
            self._call("system.logout", ())
        self._options.timeout = before
        self._core.login = None

    def _call(self, method: str, params: tuple[Any, ...]) -> Any:
        """Calls and returns the result; raises the server's `Fault`, or a `TransportError`."""
        reply = drive(self._core.call(method, params, self._tag))
        if reply.session is not None:
            return Session(reply.session, self, reply.url)
        return reply.value

    def _names(self) -> list[str]:
        """What may be called, for `dir`, which must not fail."""
        with contextlib.suppress(Exception):
            return drive(remote.names(self._core))
        return []


class Method:
    """A method by its name: call it, or go on to a longer name. `help` asks the server."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(self._client, f"{self._name}.{name}")

    def __call__(self, *params: Any) -> Any:
        return self._client._call(self._name, params)

    def __dir__(self) -> list[str]:
        return remote.below(self._client._names(), self._name)

    def __repr__(self) -> str:
        return f"<method {self._name} of {self._client._options.url}>"

    def _help(self) -> str:
        """What the server says of it."""
        try:
            return drive(remote.help_of(self._client._core, self._name))
        except Exception as wrong:  # help() shows whatever this is, and must not fail
            return f"{self._name}: the server does not tell ({wrong})"


# Asked for when somebody looks. (In the class itself it would be the documentation of the class.)
Method.__doc__ = property(Method._help, doc=Method.__doc__)  # type: ignore[assignment]


class Session(str):
    """A session: its id, which is a `str`, and what can be done with it.

    Calls that make a session answer one; `nesssi.Session(id, svr)` makes one of an id that was kept.
    """

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
        return str, (str(self),)  # what is kept or sent elsewhere is the id alone

    @property
    def url(self) -> str:
        """The address under which a browser reads the sandbox."""
        if self._url is None:
            self._url = str(drive(self._core.call("session.url", (str(self),))).value)
        return self._url

    def status(self) -> Status:
        """What is known of its job: `state`, `cpu_seconds`, `cpu_limit`, `wall_seconds`, `exit_code`, ..."""
        return drive(acts.status(self._core, str(self)))

    def wait(self, timeout: float | None = None, progress: Progress = None) -> Status:
        """Waits for the job's end; `nesssi.WaitTimeout` after `timeout` seconds. Outlives a server's restart."""
        return drive(acts.wait(self._core, str(self), timeout, self._shown(progress)))

    def files(self, path: str = "", recursive: bool = False) -> list[File]:
        """The files in the sandbox, or in one of its directories."""
        return drive(acts.listing(self._core, str(self), path, recursive))

    def read(self, path: str, offset: int = 0, length: int = -1) -> bytes:
        """The bytes of a file, at most 256 MiB; `download` brings larger ones."""
        return drive(acts.read(self._core, str(self), path, offset, length))

    def download(
        self, path: str | None = None, to: str = ".", progress: Progress = None, resume: bool = True
    ) -> list[str]:
        """Brings a file, a directory, or (without a path) the whole sandbox; the paths of what is here now.

        `to` is a directory, or for one file its new name. With `resume`, what came before of the same
        version is kept, and what is here already does not come again.
        """
        shown = self._shown(progress)
        return drive(acts.download(self._core, str(self), path, os.fspath(to), shown, resume))

    def upload(self, local: Local, path: str, progress: Progress = None) -> int:
        """Sends a file (its path, an open one, or bytes) to `path` in the sandbox; its size."""
        return drive(acts.upload(self._core, str(self), local, path, self._shown(progress)))

    def tail(
        self, path: str = "stdout", follow: bool = True, start: int = 0, binary: bool = False
    ) -> Iterator[Any]:
        """What stands in a file from `start` on (negative: from the end), and what is written to it until the job ends.

        for text in session.tail():
            print(text, end="", flush=True)
        """
        tail = acts.Tail(self._core, str(self), path, follow, start, binary)
        try:
            while True:
                piece = drive(tail.next())
                if piece is None:
                    return
                yield piece
        finally:
            tail.close()

    def cancel(self) -> str:
        """Ends the job: "cancelled" once nothing of it is left, "asked" before, "refused", or how it ended."""
        return str(self._client["job.cancel"](str(self)))

    def extend(self, seconds: float) -> Any:
        """Keeps the session for so many seconds from now, as far as the level allows; its new end."""
        return self._client["session.extend"](str(self), seconds)

    def destroy(self) -> bool:
        """Removes the session with its files. Its job must have ended."""
        return bool(self._client["session.destroy"](str(self)))

    @property
    def _core(self) -> Core:
        return self._client._core

    def _shown(self, progress: Progress) -> Progress:
        return self._client._progress if progress is None else progress


class _Blocking:
    """The network as a thread sees it: where it waits, it blocks."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(core.CONNECTIONS_MAX)

    async def connect(self, host: str, port: int, context: ssl.SSLContext, deadline: float) -> core.Stream:
        plain = socket.create_connection((host, port), timeout=_left(deadline))
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(_left(deadline))
            return _Socket(context.wrap_socket(plain, server_hostname=host))
        except BaseException:
            plain.close()
            raise

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    async def enter(self) -> None:
        self._places.acquire()

    def leave(self) -> None:
        self._places.release()


class _Socket:
    """A connection of a thread."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._socket = connection
        self._process = os.getpid()

    async def send(self, data: bytes, deadline: float) -> None:
        self._socket.settimeout(_left(deadline))
        self._socket.sendall(data)

    async def receive(self, deadline: float) -> bytes:
        self._socket.settimeout(_left(deadline))
        return self._socket.recv(core.CHUNK_BYTES)

    def is_usable(self) -> bool:
        """Nothing has come on it, which would mostly be its end; and no parent process uses it too."""
        if self._process != os.getpid():
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        self._socket.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


__all__ = ["Client", "File", "Method", "Session", "Status", "credentials"]
