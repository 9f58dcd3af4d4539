"""A fault is an answer that is no result: a code and one line that a person understands."""

from __future__ import annotations


class Fault(RuntimeError):
    """A fault: a service raises it to answer it, a client gets it raised.

    It is a `RuntimeError` with the arguments `(code, text)`, the original's way to answer a fault.
    The text is read by strangers: keep paths, user ids and stack traces out of it.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    @property
    def faultCode(self) -> int:
        """The code, by the name that XML-RPC gives it."""
        return self.code

    @property
    def faultString(self) -> str:
        """The text, by the name that XML-RPC gives it."""
        return self.text

    def __str__(self) -> str:
        return f"fault {self.code}: {self.text}"


class ReplyLost(ConnectionError):
    """The call was sent and its reply did not come: it may have been carried out, or not.

    The client never sends such a call again by itself: a job could run twice. Ask the server
    (`job.list`) before you do.
    """


INVALID_PARAMS = -32602
NO_SUCH_METHOD = -32601
OVER_LIMIT = 413
