"""NESSSI for Python: what a service calls, and what calls a service.

A service is a folder with an `__init__.py` that names its methods; it imports the service API from
here (or from `gridsession`, the original's name). A client is a program that calls services:

    import nesssi
    svr = nesssi.client("https://localhost:8443/clarens/")
    print(svr.echo.echo("hello"))

Every function of the service API has two spellings, `runJob` and `run_job`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nesssi.api import (
    Request,
    get_sandbox,
    get_session_info,
    get_session_url,
    get_status,
    get_status_value,
    get_system_user,
    getSandbox,
    getSessionInfo,
    getSessionUrl,
    getStatus,
    getStatusValue,
    getSystemUser,
    job_monitor,
    jobMonitor,
    run_cmd,
    run_job,
    runCmd,
    runJob,
)
from nesssi.fault import (
    BatchRefused,
    CallLost,
    Conflict,
    CredentialNeeded,
    Fault,
    InternalFault,
    InvalidParams,
    InvalidRequest,
    NoSuchMethod,
    NotFound,
    OverLimit,
    Refused,
    TooMany,
    Unavailable,
)

if TYPE_CHECKING:
    from nesssi import aio as aio
    from nesssi.acts import WaitTimeout as WaitTimeout
    from nesssi.connection import Client as Client
    from nesssi.connection import Session as Session
    from nesssi.errors import BadReply as BadReply
    from nesssi.errors import CannotConnect as CannotConnect
    from nesssi.errors import CertificateRejected as CertificateRejected
    from nesssi.errors import CredentialError as CredentialError
    from nesssi.errors import CredentialWarning as CredentialWarning
    from nesssi.errors import NoCredential as NoCredential
    from nesssi.errors import ReplyLost as ReplyLost
    from nesssi.errors import ServerNotTrusted as ServerNotTrusted
    from nesssi.errors import TimedOut as TimedOut
    from nesssi.errors import TransportError as TransportError
    from nesssi.errors import WrongPassphrase as WrongPassphrase
    from nesssi.session_values import File as File
    from nesssi.session_values import Status as Status

__version__ = "0.1.0"

# What `from nesssi import *` takes into a service.
__all__ = [
    "BatchRefused",
    "CallLost",
    "Conflict",
    "CredentialNeeded",
    "Fault",
    "InternalFault",
    "InvalidParams",
    "InvalidRequest",
    "NoSuchMethod",
    "NotFound",
    "OverLimit",
    "Refused",
    "Request",
    "TooMany",
    "Unavailable",
    "client",
    "getSandbox",
    "getSessionInfo",
    "getSessionUrl",
    "getStatus",
    "getStatusValue",
    "getSystemUser",
    "get_sandbox",
    "get_session_info",
    "get_session_url",
    "get_status",
    "get_status_value",
    "get_system_user",
    "jobMonitor",
    "job_monitor",
    "runCmd",
    "runJob",
    "run_cmd",
    "run_job",
]


def client(url: str, *files: str | None, **options: Any) -> Client:
    """A client of the server at `url`; the files (a certificate, its key) and options are those of
    `nesssi.connection.Client`.

    HTTP and TLS are imported here, at the first use, so that a service worker never pays for them.
    """
    from nesssi.connection import Client

    return Client(url, *files, **options)


# What a client needs is imported when it is first asked for: a service worker never pays for it.
_LATER = {
    "BadReply": "errors",
    "CannotConnect": "errors",
    "CertificateRejected": "errors",
    "Client": "connection",
    "CredentialError": "errors",
    "CredentialWarning": "errors",
    "File": "session_values",
    "NoCredential": "errors",
    "ReplyLost": "errors",
    "ServerNotTrusted": "errors",
    "Session": "connection",
    "Status": "session_values",
    "TimedOut": "errors",
    "TransportError": "errors",
    "WaitTimeout": "acts",
    "WrongPassphrase": "errors",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "aio":
        return importlib.import_module("nesssi.aio")
    if name not in _LATER:
        raise AttributeError(f"module 'nesssi' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"nesssi.{_LATER[name]}"), name)
    globals()[name] = found
    return found
