"""The link is a service worker's end of its socket to the container.

The container sends calls down it and the worker answers them; while it is in a call the worker asks
things of the container over the same socket (`ask`). One thread at a time talks: a service's own
threads may ask too, for as long as the call that they belong to lasts.

Nothing else may touch the socket. It is moved to a high descriptor number that no child inherits,
and a child that was forked without exec loses it, so the container sees its end when the worker dies.
"""

from __future__ import annotations

import _thread
import fcntl
import os
from typing import TYPE_CHECKING, Any, NoReturn

from nesssi import wire
from nesssi.fault import Fault

if TYPE_CHECKING:
    from nesssi.api import Request

# Where the container leaves the socket, and the lowest number it is moved to.
INHERITED_DESCRIPTOR = 3
_MOVED_DESCRIPTOR_MIN = 100
_READ_BYTES = 64 * 1024

# The link of this process, if it is a service worker: `nesssi.api` asks through it.
current: Link | None = None


class Link:
    """The socket to the container, with the one call that is going on."""

    def __init__(self, inherited: int = INHERITED_DESCRIPTOR) -> None:
        """Takes over the descriptor `inherited`; OSError if it is not open."""
        self._descriptor = fcntl.fcntl(inherited, fcntl.F_DUPFD_CLOEXEC, _MOVED_DESCRIPTOR_MIN)
        os.close(inherited)
        self._readline = open(self._descriptor, "rb", buffering=_READ_BYTES, closefd=False).readline
        self._lock = _thread.allocate_lock()
        self._asked = 0
        self.request: Request | None = None
        self.stopping = False
        os.register_at_fork(after_in_child=self._abandon)

    def receive(self) -> tuple[dict[str, Any], bool] | None:
        """The next message and whether it holds tags; None when the container has gone."""
        try:
            line = self._readline(wire.LINE_BYTES_MAX + 1)
        except ConnectionError:
            return None
        if line[-1:] != b"\n":
            if len(line) > wire.LINE_BYTES_MAX:
                raise ValueError(f"a message is longer than {wire.LINE_BYTES_MAX} bytes")
            return None
        return wire.decode(line)

    def send(self, line: str) -> None:
        """Writes one line, which ends in its newline; SystemExit when the container has gone."""
        if self._descriptor < 0:
            _leave_fork()
        data = wire.to_bytes(line)
        try:
            sent = os.write(self._descriptor, data)
            while sent < len(data):
                sent += os.write(self._descriptor, data[sent : sent + 1024 * 1024])
        except ConnectionError:
            raise SystemExit("nesssi: the container has gone") from None

    def is_whole(self) -> bool:
        """Whether this process is the worker itself, not a child that it forked."""
        return self._descriptor >= 0

    def begin(self, request: Request) -> None:
        """A call begins: from here on `request` may be asked for."""
        self.request = request

    def finish(self, line: str) -> None:
        """The call ends with the answer `line`, after what a thread is just asking."""
        with self._lock:
            self.request = None
            self.send(line)

    def ask(self, request: Request | None, method: str, params: dict[str, Any]) -> Any:
        """What the container answers to `method`, asked on behalf of `request` (or of the call
        that is going on); raises the `Fault` that it answers."""
        with self._lock:
            request = request or self.request
            if request is None or request is not self.request:
                raise RuntimeError("the service API can be used only while its call is going on")
            self._asked += 1
            name = f"w{self._asked}"
            params["token"] = request._token
            question = {"jsonrpc": "2.0", "id": name, "method": method, "params": params}
            self.send(wire.encode(question) + "\n")
            message, tagged = self._answer_to(name)
        error = message.get("error")
        if error is not None:
            raise Fault(error["code"], error["message"])
        result = message.get("result")
        return wire.untag(result) if tagged else result

    def _answer_to(self, name: str) -> tuple[dict[str, Any], bool]:
        while True:
            received = self.receive()
            if received is None:
                raise SystemExit("nesssi: the container has gone")
            message = received[0]
            if message.get("id") == name and "method" not in message:
                return received
            if message.get("method") == "shutdown":
                self.stopping = True
            else:
                raise SystemExit("nesssi: the container sent something that is no answer")

    def _abandon(self) -> None:
        """In a forked child: the socket belongs to the parent alone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self.request = None
        self._lock = _thread.allocate_lock()


def _leave_fork() -> NoReturn:
    """A forked child came back out of the service's method: the parent answers, the child ends."""
    os._exit(0)
