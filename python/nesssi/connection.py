"""A client is what calls a server's services: any dotted name under it is a method.

    svr = nesssi.client("https://localhost:8443/clarens/")
    session_id = svr.sleepy.sleepyAdd(20, 3, 5)
    print(svr.sleepy.monitor(session_id))

`svr["odd-name.method"](...)` calls what cannot be written with dots; `with nesssi.client(...) as svr:`
closes the connection at its end. The server's certificate is always verified.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import secrets
import select
import ssl
import sys
import threading
import time
from typing import Any, Callable, Union
from urllib.parse import urlsplit

from nesssi import credentials, xmlcall
from nesssi.fault import Fault, ReplyLost

REPLY_BYTES_MAX = 256 * 1024 * 1024
_IDLE_SECONDS_MAX = 15
# The password by which a login is asked for; it is no secret, and never taken for one.
_LOGIN_REQUEST = "BROWSER"
_LOGOUT_SECONDS_MAX = 5


class Client:
    """The calls to one server over one connection, which is kept open and made anew when it ends.

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
    `do_login`    1 logs in with `system.auth2` as programs from before did, and out at the end. It
                  adds nothing here: the certificate is shown, and suffices, with every connection

    Taken for the sake of programs from before, and meaning nothing now: `progress_cb` (files come over plain HTTP), `rpc` (what is spoken
    on the wire does not show). `async` is refused, if it is set.
    """

    def __init__(
        self,
        url: str,
        certfile: str | None = None,
        keyfile: str | None = None,
        *,
        debug: int = 0,
        passwd: str | None = None,
        guest: int = 0,
        cafile: str | None = None,
        callback: Callable[[], str] | None = None,
        cert_text: str | None = None,
        key_text: str | None = None,
        timeout: float = 120,
        do_login: int = 0,
        progress_cb: Any = None,
        rpc: str = "xmlrpc",
        account: str | None = None,
        **others: Any,
    ) -> None:
        if others.pop("async", None):
            raise ValueError("async calls are not supported: use a thread and a client for each")
        if others:
            raise TypeError(f"nesssi.client has no option {sorted(others)[0]!r}")
        if rpc not in ("xmlrpc", "jsonrpc"):
            raise ValueError("rpc is 'xmlrpc' or 'jsonrpc'")
        host, port, path = _parts(url)
        context = credentials.tls_context(cafile)
        if not guest:
            found = credentials.find(certfile, keyfile, cert_text, key_text)
            credentials.load(context, found, passwd, callback)
        self._url = url
        self._path = path
        self._account = account
        self._debug = debug
        self._lock = threading.Lock()
        self._connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        self._last_used = 0.0
        self._login: tuple[str, str] | None = None
        if do_login and not guest:
            self._log_in()

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(self, name)

    def __getitem__(self, name: str) -> Method:
        return Method(self, name)

    def __repr__(self) -> str:
        return f"<nesssi client of {self._url}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._log_out()
        with self._lock:
            self._connection.close()

    def __del__(self) -> None:
        if self.__dict__.get("_login"):
            self._log_out()
            self._connection.close()

    def _log_in(self) -> None:
        """Asks for a login by a token of our own; from then on it stands with the server's secret."""
        token = secrets.token_hex(20)
        self._login = (token, _LOGIN_REQUEST)
        try:
            made = self._call("system.auth2", ())
            if not (isinstance(made, list) and len(made) == 3 and isinstance(made[2], str)):
                raise ValueError("the server's answer to system.auth2 is no login")
        except BaseException:
            self._login = None
            self._connection.close()
            raise
        self._login = (token, made[2])

    def _log_out(self) -> None:
        """Ends the login, if there is one; without the server's help it ends by itself."""
        if not self._login:
            return
        if self._connection.sock is not None:
            self._connection.sock.settimeout(_LOGOUT_SECONDS_MAX)
        self._connection.timeout = _LOGOUT_SECONDS_MAX
        with contextlib.suppress(Exception):
            self._call("system.logout", ())
        self._login = None

    def _call(self, method: str, params: tuple[Any, ...]) -> Any:
        """Calls and returns the result; raises the server's `Fault`, or `ReplyLost`."""
        body = xmlcall.request(method, params)
        self._show("->", body)
        with self._lock:
            self._connect()
            status, reason, kind, reply = self._exchange(body)
        # What stands in the answer to a login is nobody's to read along.
        self._show("<-", b"(a login)" if method == "system.auth2" else reply)
        if kind.split(";")[0].strip() not in ("text/xml", "application/xml"):
            raise Fault(status, f"the server's answer is HTTP {status} {reason}, and no XML-RPC")
        value = xmlcall.result(reply)
        if method == "system.logout":
            self._login = None
        return value

    def _exchange(self, body: bytes) -> tuple[int, str, str, bytes]:
        try:
            response, reply = self._send(body)
        except (OSError, http.client.HTTPException) as wrong:
            self._connection.close()
            raise ReplyLost(
                f"the connection ended before the reply came ({_said(wrong)}): the call may have "
                "been carried out; see job.list before you make it again"
            ) from wrong
        except BaseException:  # such as Ctrl-C: the reply to this call must not answer the next
            self._connection.close()
            raise
        if len(reply) > REPLY_BYTES_MAX:
            self._connection.close()
            raise ValueError(f"the server's answer is longer than {REPLY_BYTES_MAX} bytes")
        self._last_used = time.monotonic()
        kind = response.getheader("Content-Type", "")
        return response.status, response.reason, kind, reply

    def _send(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {"Content-Type": "text/xml", "User-Agent": "nesssi-python"}
        if self._login:
            basic = base64.b64encode(":".join(self._login).encode()).decode()
            headers["Authorization"] = f"Basic {basic}"
        if self._account is not None:
            headers["NESSSI-Account"] = self._account
        self._connection.request("POST", self._path, body, headers)
        response = self._connection.getresponse()
        return response, response.read(REPLY_BYTES_MAX + 1)

    def _connect(self) -> None:
        """Has a connection that lives as far as can be known, before anything is sent.

        This is the only place where a connection is made anew: a call that was sent on one that then
        ended is never sent again.
        """
        open_socket = self._connection.sock
        if open_socket is not None:
            idle_seconds = time.monotonic() - self._last_used
            if idle_seconds <= _IDLE_SECONDS_MAX and not _has_news(open_socket):
                return
            self._connection.close()
        self._connection.connect()

    def _show(self, arrow: str, text: bytes) -> None:
        if self._debug:
            print(f"{arrow} {self._url} {text.decode(errors='replace')}", file=sys.stderr)


class Method:
    """A method by its name: call it, or go on to a longer name."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(self._client, f"{self._name}.{name}")

    def __call__(self, *params: Any) -> Any:
        return self._client._call(self._name, params)

    def __repr__(self) -> str:
        return f"<method {self._name} of {self._client._url}>"


def _parts(url: str) -> tuple[str, int | None, str]:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError(f"a server's address is https://host:port/clarens/, not {url!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a server's address has no user, query or fragment")
    path = parts.path if parts.path not in ("", "/") else "/clarens/"
    return parts.hostname, parts.port, path


def _has_news(idle: Union[ssl.SSLSocket, Any]) -> bool:
    """Whether something came on a connection on which nothing is due: mostly its end."""
    poll = select.poll()
    poll.register(idle, select.POLLIN)
    return bool(poll.poll(0))


def _said(wrong: BaseException) -> str:
    return str(wrong) or type(wrong).__name__


