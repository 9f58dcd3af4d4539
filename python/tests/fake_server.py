"""A fake server: XML-RPC over TLS on loopback, with certificates made for the test run."""

from __future__ import annotations

import base64
import pathlib
import socket
import ssl
import subprocess
import threading
import xmlrpc.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fake_container  # noqa: F401  (lets `import nesssi` find the package)

PASSPHRASE = "correct horse"


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

    def __init__(self, credentials: Credentials, name: str = "server") -> None:
        handler = type("Handler", (_Handler,), {"server_": self})
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(credentials.path(f"{name}.pem"), credentials.path(f"{name}.key"))
        self.context.load_verify_locations(credentials.path("ca.pem"))
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.http = _Http(("127.0.0.1", 0), handler, bind_and_activate=True)
        self.http.daemon_threads = True
        self.http.block_on_close = False
        self.url = f"https://localhost:{self.http.server_port}/clarens/"
        self.connections = 0
        self.calls: list[tuple[str, str, tuple]] = []
        # What each call said of itself: user and password, or None; and the logins that were made.
        self.basics: list[tuple[str, str] | None] = []
        self.logins: dict[str, str] = {}
        self.bodies: list[bytes] = []
        # Set when the server has closed a connection on its own.
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


class _Http(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A handshake that the client refused is part of the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_: Server

    def setup(self) -> None:
        self.request = self.server_.context.wrap_socket(self.request, server_side=True)
        self.server_.connections += 1
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()
        self.server_.closed.set()

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        params, method = xmlrpc.client.loads(body, use_builtin_types=True)
        self.server_.calls.append((self.path, method or "", params))
        self.server_.bodies.append(body)
        self.server_.basics.append(self.basic())
        getattr(self, "answer_" + (method or "").replace(".", "_"))(*params)

    def basic(self) -> tuple[str, str] | None:
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return None
        user, _, password = base64.b64decode(text).decode().partition(":")
        return user, password

    def say(self, value: object, status: int = 200, kind: str = "text/xml; charset=utf-8") -> None:
        if isinstance(value, bytes):
            reply = value
        elif isinstance(value, xmlrpc.client.Fault):
            reply = xmlrpc.client.dumps(value).encode()
        else:
            reply = xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

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

    def answer_drop_before(self) -> None:
        self.drop()

    def answer_drop_after(self) -> None:
        self.say("dropped")
        self.drop()

    def answer_close_after(self) -> None:
        self.close_connection = True
        self.say("closing")

    def answer_never(self) -> None:
        self.server_.closed.wait(5)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
