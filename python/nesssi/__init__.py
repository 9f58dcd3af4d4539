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
from nesssi.fault import Fault, ReplyLost

if TYPE_CHECKING:
    from nesssi.connection import Client

__version__ = "0.1.0"

__all__ = [
    "Fault",
    "ReplyLost",
    "Request",
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
