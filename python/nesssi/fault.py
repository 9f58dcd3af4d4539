"""A fault is an answer that is no result: a code and one line that a person understands.

Each code that a program may want to tell from the others has a class of its own, all of them a `Fault`:

    >>> try:
    ...     raise fault_of(404, "no such session")
    ... except NotFound as fault:
    ...     print(fault.code, fault.text)
    404 no such session
    >>> type(fault_of(1234, "a service's own")).__name__
    'Fault'
"""

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


class InvalidRequest(Fault):
    """-32600 and -32700: what was sent is no call, or not well formed."""


class NoSuchMethod(Fault):
    """-32601: the server has no method of this name, or not for this caller."""


class InvalidParams(Fault):
    """-32602: the wrong number, types or values of parameters."""


class InternalFault(Fault):
    """-32603: a mistake of the server or of a service; the text holds an incident id for the log."""


class CredentialNeeded(Fault):
    """401: this needs a certificate, and none was shown."""


class Refused(Fault):
    """403: the credential, the access list or the mapping says no."""


class NotFound(Fault):
    """404: no such session or file; what is absent and what is another's are one answer."""


class Conflict(Fault):
    """409: as a second job in a session, or a tag that was used with other parameters."""


class CallLost(Conflict):
    """409 of a call by its tag: the server ended while it ran, and how far it came is not known.

    It is not made again by itself. Look what there is (`job.list`), then call with a new tag. `session` is
    the session that it had made by then, if the server knows of one.
    """

    session: str | None = None


class OverLimit(Fault):
    """413: more was asked than the level allows; asked, limit and level are in the text."""


class TooMany(Fault):
    """429: too many calls or jobs at once, or the CPU seconds of the day are used up."""


class BatchRefused(Fault):
    """502: the batch system refused, in its own words."""


class Unavailable(Fault):
    """503: busy, restarting, or the service is not healthy. Later may be better."""


INVALID_PARAMS = -32602
NO_SUCH_METHOD = -32601
OVER_LIMIT = 413

_BY_CODE: dict[int, type[Fault]] = {
    -32700: InvalidRequest,
    -32600: InvalidRequest,
    NO_SUCH_METHOD: NoSuchMethod,
    INVALID_PARAMS: InvalidParams,
    -32603: InternalFault,
    401: CredentialNeeded,
    403: Refused,
    404: NotFound,
    409: Conflict,
    OVER_LIMIT: OverLimit,
    429: TooMany,
    502: BatchRefused,
    503: Unavailable,
}


def fault_of(code: int, text: str) -> Fault:
    """The fault of this code, of the class that is the code's."""
    return _BY_CODE.get(code, Fault)(code, text)
