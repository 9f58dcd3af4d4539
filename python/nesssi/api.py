"""The service API is what a service calls to start its work and to tell of it.

A method of a service is a function `f(req, method_name, args)`. It may call these functions while it
answers, giving its own `req` and `method_name` on; each has two spellings. Times are **CPU seconds**:
sleeping and waiting cost none. Every one of them raises a `Fault` where the container refuses (413
over the level's limit, 404 no such session, ...), which a service may catch, or leave to be the answer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Union

from nesssi import link
from nesssi.fault import INVALID_PARAMS, Fault

Command = Union[str, Sequence[Any]]


class Request:
    """A request is what a service knows of the call that it answers (`req`)."""

    # The caller's subject DN in the Globus one-line form; "" if there is no certificate.
    clarens_dn: str
    # The local account that this runs as, and the level of trust: "strong", "weak", "anonymous".
    account: str
    level: str
    # The CPU seconds that a job of this caller may ask for.
    cpu_limit: int
    # What the caller speaks: "xmlrpc".
    protocol: str
    # The name of this call in every log.
    request_id: str

    def __init__(self, token: str, facts: dict[str, Any]) -> None:
        self._token = token
        self.clarens_dn = facts["clarens_dn"]
        self.account = facts["account"]
        self.level = facts["level"]
        self.cpu_limit = facts["cpu_limit"]
        self.protocol = facts["protocol"]
        self.request_id = facts["request_id"]

    def __repr__(self) -> str:
        return f"<request {self.request_id} at level {self.level}>"


def get_system_user(req: Request, seconds: float) -> str:
    """The account that would run a job of so many CPU seconds; fault 413 if that is too much."""
    return _ask(req, "system_user", seconds=_seconds(seconds))


def get_session_info(req: Request, method_name: str, seconds: float) -> list[str]:
    """Makes a session for a job of so many CPU seconds: `[session_id, sandbox]`.

    Put the job's input into the sandbox, then start it with
    `run_job(req, method_name, [seconds, session_id], cmd)`. A session that is not used expires.
    """
    return _ask(req, "session_info", method=method_name, seconds=_seconds(seconds))


def get_sandbox(session_id: str) -> str:
    """The path of the session's sandbox."""
    return _ask(None, "sandbox", session=_session(session_id))


def get_status(session_id: str) -> str:
    """The session's status as text: state, CPU used and limit, a line with its URL for each file."""
    return _ask(None, "status", session=_session(session_id))


def get_status_value(session_id: str) -> dict[str, Any]:
    """The session's status as a dict, as `job.status` answers it."""
    return _ask(None, "status_value", session=_session(session_id))


def get_session_url(session_id: str) -> str:
    """The URL of the session's sandbox on the open web server."""
    return _ask(None, "url", session=_session(session_id))


def run_job(
    req: Request, method_name: str, call_args: Any, cmd: Command, batch: str | None = None
) -> str:
    """Submits `cmd` as a job; the answer is the session id.

    `call_args` is `[seconds]`, the CPU seconds that the job needs, or `[seconds, session_id]` to run
    it in the session that `get_session_info` made. `cmd` is a list: the program and its arguments,
    passed on as they are, whatever a caller wrote in them. (A string is for services from before:
    it goes to a shell, and only where the service's `service.toml` says `shell_commands = true`.)
    `batch` names a batch system of the server; without it that is the service's own, if it names one
    (a module variable `batch`), and the server's default otherwise.
    """
    if batch is not None and not isinstance(batch, str):
        raise TypeError("batch is the name of a batch system")
    return _submit(req, method_name, call_args, cmd, batch)


def run_cmd(req: Request, method_name: str, call_args: Any, cmd: Command) -> str:
    """As `run_job`, on the server's own machine: the `local` batch system, whatever the default."""
    return _submit(req, method_name, call_args, cmd, "local")


def job_monitor(req: Request, method_name: str, args: Sequence[Any]) -> str:
    """A ready-made method: `args` is `[session_id]`, the answer its status as text."""
    if len(args) != 1:
        raise Fault(INVALID_PARAMS, f"one parameter is needed, the session id, not {len(args)}")
    return _ask(req, "monitor", session=_session(args[0]))


# The names of the original.
getSystemUser = get_system_user
getSessionInfo = get_session_info
getSandbox = get_sandbox
getStatus = get_status
getStatusValue = get_status_value
getSessionUrl = get_session_url
runJob = run_job
runCmd = run_cmd
jobMonitor = job_monitor


def _submit(
    req: Request, method_name: str, call_args: Any, cmd: Command, batch: str | None
) -> str:
    seconds, session = _job_arguments(call_args)
    return _ask(
        req,
        "run_job",
        method=method_name,
        seconds=seconds,
        session=session,
        command=_command(cmd),
        batch=batch,
    )


def _ask(req: Request | None, question: str, /, **params: Any) -> Any:
    if link.current is None:
        raise RuntimeError("the service API works only inside of a NESSSI service")
    return link.current.ask(req, question, params)


def _job_arguments(call_args: Any) -> tuple[float, str | None]:
    if isinstance(call_args, (int, float)):
        return _seconds(call_args), None
    if not isinstance(call_args, (list, tuple)) or len(call_args) not in (1, 2):
        raise TypeError("call_args is [seconds] or [seconds, session_id]")
    session = call_args[1] if len(call_args) == 2 else None
    return _seconds(call_args[0]), _session(session) if session else None


def _seconds(seconds: Any) -> float:
    """The container judges how much it is; here it must be a number at all."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        seconds = getattr(seconds, "tolist", lambda: None)()  # numpy's numbers
    if not isinstance(seconds, (int, float)) or not abs(seconds) < 2**63:
        raise Fault(INVALID_PARAMS, "the CPU seconds are not a number")
    return seconds


def _session(session: Any) -> str:
    if not isinstance(session, str):
        raise Fault(INVALID_PARAMS, "a session id is a string of 32 hex digits")
    return session


def _command(cmd: Command) -> dict[str, Any]:
    if isinstance(cmd, str):
        return {"shell": _argument(0, cmd)}
    if not isinstance(cmd, (list, tuple)) or not cmd:
        raise TypeError("cmd is a list: the program and its arguments")
    return {"argv": [_argument(number, item) for number, item in enumerate(cmd)]}


def _argument(number: int, item: Any) -> str:
    """One word of a command as text: numbers are written out, a path is taken as it is."""
    if isinstance(item, os.PathLike):
        item = os.fspath(item)
    if isinstance(item, bool) or not isinstance(item, (str, bytes, int, float)):
        raise _no_word(number)
    try:
        if isinstance(item, (int, float)):
            return str(int(item)) if isinstance(item, int) else repr(float(item))
        text = item.decode() if isinstance(item, bytes) else item
        text.encode()
    except UnicodeError:
        raise _no_word(number) from None
    if "\0" in text:
        raise _no_word(number)
    return text


def _no_word(number: int) -> Fault:
    return Fault(INVALID_PARAMS, f"word {number} of the command is no text for a program")
