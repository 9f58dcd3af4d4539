"""A fake container: starts `worker_main.py` as the container does and speaks the protocol to it.

Importing this module lets a test import the package beside it, installed or not.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import sys
import tempfile
import textwrap
import unittest

PYTHON_PATH = pathlib.Path(__file__).resolve().parent.parent
if str(PYTHON_PATH) not in sys.path:
    sys.path.insert(0, str(PYTHON_PATH))
WORKER = PYTHON_PATH / "nesssi" / "worker_main.py"
TESTDATA = PYTHON_PATH / "tests" / "testdata"
WAIT_SECONDS_MAX = 10
TOKEN = "0123456789abcdef0123456789abcdef"
REQ = {
    "clarens_dn": "/O=Test Grid/CN=Alice",
    "account": "alice",
    "level": "strong",
    "cpu_limit": 216000,
    "protocol": "xmlrpc",
    "request_id": "r-1",
}


class Gone(Exception):
    """The worker's end of the socket is closed."""


class Worker:
    """A worker process, the container's end of its socket, and its log."""

    def __init__(self, action: str, name: str, folder: os.PathLike[str] | str) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.socket.settimeout(WAIT_SECONDS_MAX)
        self.reader = ours.makefile("rb")
        self.log_file = tempfile.TemporaryFile()
        log = self.log_file.fileno()
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", str(WORKER), action, name, str(folder)],
            {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "CLARENS": "/opt/nesssi"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
            ],
        )
        theirs.close()
        self.exit_code: int | None = None
        self.calls = 0

    def log(self) -> str:
        return os.pread(self.log_file.fileno(), 1 << 20, 0).decode()

    def send_raw(self, line: bytes) -> None:
        self.socket.sendall(line)

    def send(self, message: dict) -> None:
        self.send_raw(json.dumps(message, ensure_ascii=False).encode() + b"\n")

    def receive(self) -> dict:
        line = self.reader.readline()
        if not line.endswith(b"\n"):
            raise Gone(line)
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def start_call(self, name: str, *args: object, token: str = TOKEN) -> int:
        self.calls += 1
        params = {"token": token, "method": f"test.{name}", "name": name, "args": args, "req": REQ}
        self.send({"jsonrpc": "2.0", "id": self.calls, "method": "call", "params": params})
        return self.calls

    def call(self, name: str, *args: object, answers: tuple = ()) -> dict:
        """The answer to a call; what the worker asks meanwhile gets `answers`, one after another."""
        number = self.start_call(name, *args)
        self.asked = []
        left = list(answers)
        while True:
            message = self.receive()
            if "method" not in message:
                assert message["id"] == number, message
                return message
            self.asked.append(message)
            self.send({"jsonrpc": "2.0", "id": message["id"], **left.pop(0)})

    def result(self, name: str, *args: object, answers: tuple = ()) -> object:
        message = self.call(name, *args, answers=answers)
        assert "result" in message, (message, self.log())
        return message["result"]

    def error(self, name: str, *args: object, answers: tuple = ()) -> dict:
        message = self.call(name, *args, answers=answers)
        assert "error" in message, message
        return message["error"]

    def wait(self) -> int:
        """The exit code, once the worker has ended by itself; negative for a signal."""
        if self.exit_code is None:
            signal.alarm(WAIT_SECONDS_MAX)
            _, status = os.waitpid(self.pid, 0)
            signal.alarm(0)
            self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code

    def close(self) -> None:
        self.reader.close()
        self.socket.close()
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self.log_file.close()


class WorkerCase(unittest.TestCase):
    """A test of services: each gets a folder of its own, and its workers are ended."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)

    def write(self, path: str, code: str) -> pathlib.Path:
        """Writes a file of a service; the path of its folder."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(code))
        return file.parent

    def worker(self, action: str, name: str, folder: os.PathLike[str] | str) -> Worker:
        worker = Worker(action, name, folder)
        self.addCleanup(worker.close)
        return worker

    def serve_folder(self, name: str, folder: os.PathLike[str] | str) -> Worker:
        worker = self.worker("serve", name, folder)
        ready = worker.receive()
        self.assertEqual(ready.get("method"), "ready", (ready, worker.log()))
        worker.methods = ready["params"]["methods"]
        return worker

    def serve(self, code: str) -> Worker:
        """A worker of a service `test` whose `__init__.py` is `code`: its methods begin with `m_`."""
        folder = self.write("test/__init__.py", code)
        with open(folder / "__init__.py", "a") as file:
            file.write("methods_list = {n: f for n, f in list(vars().items()) if n[:2] == 'm_'}\n")
        return self.serve_folder("test", folder)
