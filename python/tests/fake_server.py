"""A fake server: XML-RPC over TLS on loopback, with certificates made for the test run."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import pathlib
import re
import socket
import ssl
import subprocess
import threading
import urllib.parse
import xmlrpc.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fake_container  # noqa: F401  (lets `import nesssi` find the package)

PASSPHRASE = "correct horse"
SESSION = "0123456789abcdef0123456789abcdef"
MODIFIED = "Wed, 22 Nov 2006 12:00:00 GMT"


class Credentials:
    """A CA, a server's certificate of localhost, and a user's with three forms of key."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._authority("ca", "/O=Test Grid/CN=CA")
        self._authority("other", "/O=Other Grid/CN=CA")
        self._issue("server", "/O=Test Grid/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self._issue("stranger", "/O=Test Grid/CN=elsewhere", "subjectAltName=DNS:elsewhere.example")
        self._issue("user", "/O=Test Grid/CN=Alice", "keyUsage=digitalSignature")
        encrypt = ["pkey", "-in", "user.key", "-out", "locked.key", "-aes128"]
        self._openssl(*encrypt, "-passout", f"pass:{PASSPHRASE}")
        both = (directory / "user.pem").read_text() + (directory / "user.key").read_text()
        (directory / "proxy.pem").touch(0o600)
        (directory / "proxy.pem").write_text(both)

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.directory, check=True, capture_output=True)

    def _request(self, name: str, subject: str, *more: str) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self._openssl("req", *key, "-keyout", f"{name}.key", "-subj", subject, *more)

    def _authority(self, name: str, subject: str) -> None:
        self._request(name, subject, "-x509", "-days", "2", "-out", f"{name}.pem")

    def _issue(self, name: str, subject: str, extension: str) -> None:
        self._request(name, subject, "-out", f"{name}.csr")
        (self.directory / f"{name}.ext").write_text(extension + "\n")
        sign = ["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"]
        more = ["-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem"]
        self._openssl(*sign, *more)


class Server:
    """Answers `echo.echo`, `who.am_i`, ... and misbehaves where a method's name says so."""

    def __init__(self, credentials: Credentials, name: str = "server", port: int = 0) -> None:
        handler = type("Handler", (_Handler,), {"server_": self})
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(credentials.path(f"{name}.pem"), credentials.path(f"{name}.key"))
        self.context.load_verify_locations(credentials.path("ca.pem"))
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.http = _Http(("127.0.0.1", port), handler, bind_and_activate=True)
        self.http.daemon_threads = True
        self.http.block_on_close = False
        self.url = f"https://localhost:{self.http.server_port}/clarens/"
        self.connections = 0
        self.open: set[ssl.SSLSocket] = set()
        self.calls: list[tuple[str, str, tuple]] = []
        # What each call said of itself: user and password, or None; and the logins that were made.
        self.basics: list[tuple[str, str] | None] = []
        self.logins: dict[str, str] = {}
        self.bodies: list[bytes] = []
        # What is told of the one session that there is; what it holds: path -> bytes, None a directory.
        self.status: dict[str, object] = {"state": "running", "cpu_seconds": 0.5, "cpu_limit": 20.0}
        self.changed = threading.Condition()
        self.files: dict[str, bytes | None] = {}
        self.listed: list[dict[str, object]] | None = None
        self.version = 1
        # Tags of calls that came, answers that are kept by them, and how many calls were carried out.
        self.tags: list[str | None] = []
        self.kept: dict[tuple[str, str], bytes] | None = {}
        self.carried_out = 0
        # So many calls lose their answer after they were carried out; so many are told that it is busy.
        self.lose = self.busy = 0
        # So many files break off after so many bytes.
        self.break_off: list[int] = []
        self.gets: list[dict[str, str]] = []
        # What is sent as it stands, in place of an answer.
        self.raw: bytes | None = None
        # Set when the server has closed a connection on its own.
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def become(self, state: str) -> None:
        """The job comes into another state."""
        with self.changed:
            self.status["state"] = state
            self.changed.notify_all()

    def stop(self) -> None:
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.become(str(self.status["state"]))
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


class _Http(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A handshake that the client refused is part of the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_: Server
    is_json = False
    key: tuple[str, str] | None = None

    def setup(self) -> None:
        self.request = self.server_.context.wrap_socket(self.request, server_side=True)
        self.server_.connections += 1
        self.server_.open.add(self.request)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.server_.open.discard(self.request)
        self.request.close()
        self.server_.closed.set()

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.is_json = self.headers["Content-Type"] == "application/json"
        if self.is_json:
            asked = json.loads(body)
            method, params = asked["method"], asked["params"]
        else:
            params, method = xmlrpc.client.loads(body, use_builtin_types=True)
        server = self.server_
        tag = self.headers["NESSSI-Client-Tag"]
        server.calls.append((self.path, method or "", tuple(params)))
        server.bodies.append(body)
        server.tags.append(tag)
        server.basics.append(self.basic())
        if server.raw is not None:
            self.wfile.write(server.raw)
            self.drop()
            return
        if server.busy and method != "system.last_call":
            server.busy -= 1
            self.say(xmlrpc.client.Fault(503, "starting"))
            return
        self.key = (method or "", tag) if tag and server.kept is not None else None
        if self.key and server.kept and self.key in server.kept:
            self.send(server.kept[self.key])
            return
        known = getattr(self, "answer_" + (method or "").replace(".", "_"), None)
        if known is None or (method == "system.last_call" and server.kept is None):
            self.say(xmlrpc.client.Fault(-32601, f"no such method: {method}"))
        else:
            known(*params)

    def basic(self) -> tuple[str, str] | None:
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return None
        user, _, password = base64.b64decode(text).decode().partition(":")
        return user, password

    def say(
        self,
        value: object,
        status: int = 200,
        kind: str = "text/xml; charset=utf-8",
        url: str | None = None,
    ) -> None:
        if isinstance(value, bytes):
            reply = value
        elif self.is_json:
            kind, answer = "application/json", {"jsonrpc": "2.0", "id": 1}
            if isinstance(value, xmlrpc.client.Fault):
                answer["error"] = {"code": value.faultCode, "message": value.faultString}
            else:
                answer["result"] = value
            reply = json.dumps(answer).encode()
        elif isinstance(value, xmlrpc.client.Fault):
            reply = xmlrpc.client.dumps(value).encode()
        else:
            reply = xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True).encode()
        more = f"NESSSI-Session-URL: {url}\r\n" if url else ""
        head = f"HTTP/1.1 {status} {self.responses[status][0]}\r\nContent-Type: {kind}\r\n{more}"
        self.send(f"{head}Content-Length: {len(reply)}\r\n\r\n".encode() + reply)

    def send(self, answer: bytes) -> None:
        """Sends an answer, or loses it; it is kept for its tag."""
        if self.key and self.server_.kept is not None:
            self.server_.kept[self.key] = answer
        if self.server_.lose and self.key is not None or self.server_.lose and self.server_.kept is None:
            self.server_.lose -= 1
            self.drop()
            return
        self.wfile.write(answer)

    def drop(self) -> None:
        """Closes without a word of TLS, as a server that was killed does."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer_echo_echo(self, *params: object) -> None:
        self.say(list(params))

    answer_a_b_c_d = answer_echo_echo

    def answer_who_am_i(self) -> None:
        subject = dict(pair[0] for pair in (self.connection.getpeercert() or {}).get("subject", ()))
        self.say(subject.get("commonName"))

    def answer_which_account(self) -> None:
        self.say(self.headers.get_all("NESSSI-Account") or [])

    def answer_system_auth2(self) -> None:
        basic = self.basic()
        if not self.connection.getpeercert() or not basic or basic[1] != "BROWSER":
            self.say(xmlrpc.client.Fault(401, "logging in needs a certificate"))
            return
        self.server_.logins[basic[0]] = f"secret of {len(self.server_.logins)}"
        self.say(["server's PEM", "user's PEM", self.server_.logins[basic[0]]])

    def answer_system_logout(self) -> None:
        user, password = self.basic() or ("", "")
        if self.server_.logins.get(user) == password:
            del self.server_.logins[user]
        self.say(True)

    def answer_fault_over(self) -> None:
        self.say(xmlrpc.client.Fault(413, "asked for 2, the limit is 1"))

    def answer_fault_refused(self) -> None:
        self.say(xmlrpc.client.Fault(403, "certificate expired"), status=403)

    def answer_fault_html(self) -> None:
        self.say(b"<html>no</html>", status=502, kind="text/html")

    def answer_fault_nonsense(self) -> None:
        self.say(b"<methodResponse><params>")

    def answer_system_listMethods(self) -> None:
        names = ["echo.echo", "job.status", "sleepy.sleepyAdd", "sleepy.deep.er", "system.listMethods"]
        self.say([*names, "odd-name.method"])

    def answer_system_methodHelp(self, name: str) -> None:
        self.say(f"the help of {name}")

    def answer_system_methodSignature(self, name: str) -> None:
        self.say([["string", "double", "double"]] if name == "sleepy.sleepyAdd" else "undef")

    def answer_system_last_call(self, tag: str, method: str) -> None:
        if (method, tag) in (self.server_.kept or {}):
            self.say({"method": method, "state": "done"})
        else:
            self.say(xmlrpc.client.Fault(404, "no such call"))

    def answer_sleepy_sleepyAdd(self, *_: object) -> None:
        self.server_.carried_out += 1
        self.say(SESSION, url=f"http://localhost:8080/sandboxes/{SESSION}/")

    def answer_hex_digits(self) -> None:
        self.say(SESSION)

    def answer_hex_other(self) -> None:
        self.say(SESSION, url=f"http://localhost:8080/sandboxes/{SESSION[::-1]}/")

    def answer_job_submit(self, *_: object) -> None:
        self.server_.carried_out += 1
        self.say(SESSION)

    def answer_lost_call(self, text: str) -> None:
        self.say(xmlrpc.client.Fault(409, text))

    def answer_job_status(self, session: str) -> None:
        if session != SESSION:
            self.say(xmlrpc.client.Fault(404, "no such session"))
            return
        self.say({**self.server_.status, "as_of": datetime.datetime(2006, 11, 22)})

    def answer_job_wait(self, session: str, seconds: float) -> None:
        server = self.server_
        with server.changed:
            server.changed.wait_for(lambda: server.status["state"] != "running", min(seconds, 5))
        self.say({**server.status, "ended": server.status["state"] != "running", "retry": False})

    def answer_job_cancel(self, session: str) -> None:
        self.server_.become("cancelled")
        self.say("cancelled")

    def answer_session_url(self, session: str) -> None:
        self.say(f"http://localhost:8080/sandboxes/{session}/")

    def answer_session_extend(self, session: str, seconds: float) -> None:
        self.say(datetime.datetime(2006, 11, 23))

    def answer_session_destroy(self, session: str) -> None:
        self.say(True)

    def answer_file_read(self, path: str, offset: int, length: int) -> None:
        if path == "absent":
            self.say(xmlrpc.client.Fault(404, "no such file"))
        else:
            self.say(b"<methodResponse> raw", kind="application/xml")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server = self.server_
        path = urllib.parse.unquote(self.path)
        start = f"/clarens/{SESSION}/"
        name = path[len(start) :].rstrip("/")
        server.gets.append({**self.headers, "path": path})
        if server.busy:
            server.busy -= 1
            self.plain(503, b"busy\n")
        elif not path.startswith(start) or (name and name not in server.files):
            self.plain(404, b"not found\n")
        elif name and server.files[name] is not None:
            self.file(server.files[name] or b"")
        elif not path.endswith("/"):
            self.plain(308, b"", Location=self.path + "/")
        else:
            self.plain(200, self.listing(name), **{"Content-Type": "application/json"})

    def listing(self, under: str) -> bytes:
        start = f"{under}/" if under else ""
        found = [
            {"name": name[len(start) :], "directory": data is None, "size": len(data or b""), "modified": 0}
            for name, data in self.server_.files.items()
            if name.startswith(start) and "/" not in name[len(start) :]
        ]
        return json.dumps({"entries": self.server_.listed or found, "cut": False}).encode()

    def file(self, data: bytes) -> None:
        etag = f'"{self.server_.version}"'
        headers = {"ETag": etag, "Last-Modified": MODIFIED}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers["Range"] or "")
        if not asked or self.headers["If-Range"] not in (None, etag):
            self.plain(200, data, **headers)
            return
        if asked.group(1):
            first = int(asked.group(1))
            last = min(int(asked.group(2) or len(data)), len(data) - 1)
        else:
            first, last = max(0, len(data) - int(asked.group(2))), len(data) - 1
        if first >= len(data):
            self.plain(416, b"", **{"Content-Range": f"bytes */{len(data)}"})
            return
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self.plain(206, data[first : last + 1], **headers)

    def plain(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server_.break_off and status in (200, 206) and "ETag" in headers:
            self.wfile.write(body[: self.server_.break_off.pop(0)])
            self.drop()
            return
        self.wfile.write(body)

    def do_PUT(self) -> None:
        server = self.server_
        name = urllib.parse.unquote(self.path)[len(f"/clarens/{SESSION}/") :]
        size = int(self.headers["Content-Length"])
        if size > 10_000_000:  # refused before it is read
            self.close_connection = True
            reply = xmlrpc.client.dumps(xmlrpc.client.Fault(413, "too large")).encode()
            self.plain(413, reply, **{"Content-Type": "text/xml"})
            return
        data = self.rfile.read(size)
        if server.lose:
            server.lose -= 1
            self.drop()
            return
        status = 200 if name in server.files else 201
        server.files[name] = data
        reply = xmlrpc.client.dumps((len(data),), methodresponse=True).encode()
        self.plain(status, reply, **{"Content-Type": "text/xml"})

    def answer_drop_before(self) -> None:
        self.drop()

    def answer_drop_after(self) -> None:
        self.say("dropped")
        self.drop()

    def answer_closes_after(self) -> None:
        self.close_connection = True
        self.say("closing")

    def answer_never(self) -> None:
        self.server_.closed.wait(5)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
