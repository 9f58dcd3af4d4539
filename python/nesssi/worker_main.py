"""NAME
    worker_main.py - the service worker: the process that runs a service's code

SYNOPSIS
    python -I worker_main.py serve NAME FOLDER [DESCRIPTOR]
    python -I worker_main.py describe NAME FOLDER [DESCRIPTOR]
    python -I worker_main.py check NAME FOLDER [DESCRIPTOR]

DESCRIPTION
    `describe` imports the service, writes one JSON object that tells its methods (or why it is
    broken) and exits; so does `check`, which tells more: every problem, for the service's developer.
    `serve` says that it is ready, then answers one call after the other until it is told to shut down
    or the container goes. All talk on descriptor 3, as docs/services.md says. With DESCRIPTOR the
    modules of the folder are those that were in it when the service was taken up, as `modules.py` says.

SECURITY
    Runs as the account of the caller, with the service's code in the same process: nothing here
    protects a worker from its own service. What the container believes is the token of a call.

DIAGNOSTICS
    Standard output and error are the service's log. An exception that is no fault is written there
    with an incident id, and the caller reads that id alone.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any

# How long a worker that was told to end may take for its exit handlers and threads.
_LINGER_SECONDS_MAX = 2
_EXIT_USAGE = 64


def main(arguments: list[str]) -> int:
    """Does what `arguments` say; the result is the exit code."""
    _find_nesssi()
    _prepare_log()
    if len(arguments) not in (3, 4) or arguments[0] not in ("serve", "describe", "check"):
        print("usage: worker_main.py serve|describe|check NAME FOLDER [DESCRIPTOR]", file=sys.stderr)
        return _EXIT_USAGE
    from nesssi import link

    try:
        link.current = link.Link()
    except OSError:
        print("nesssi: descriptor 3, the socket to the container, is not open", file=sys.stderr)
        return _EXIT_USAGE
    action, name, folder = arguments[:3]
    sys.argv = [os.path.join(folder, "__init__.py")]
    version = None
    if len(arguments) == 4:
        from nesssi import modules

        try:
            version = modules.read(int(arguments[3]), folder)
        except (OSError, ValueError) as wrong:
            print(f"nesssi: the version of the service cannot be read: {wrong}", file=sys.stderr)
            return _EXIT_USAGE
    if action == "serve":
        return _serve(name, folder, version)
    return _describe(action, name, folder, version)


def _find_nesssi() -> None:
    """Lets `import nesssi` and `import gridsession` find the package that this file is part of."""
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and sys.path[0] == here:  # started without -I
        del sys.path[0]
    package_path = os.path.dirname(here)
    if package_path not in sys.path:
        sys.path.insert(0, package_path)


def _prepare_log() -> None:
    """Makes what a service prints reach the log line by line, whatever characters are in it.

    The environment's PYTHONUNBUFFERED and PYTHONDONTWRITEBYTECODE say nothing to a Python under -I.
    """
    sys.dont_write_bytecode = True
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore


def _describe(action: str, name: str, folder: str, version: Any) -> int:
    from nesssi import link, loading, wire

    link_to_container = link.current
    assert link_to_container is not None
    if action == "check":
        from nesssi.checking import check

        description = check(name, folder, version)
    else:
        from nesssi.describe import describe

        try:
            description = describe(loading.load(name, folder, version))
        except loading.Broken as broken:
            description = {"error": str(broken)}
    link_to_container.send(wire.encode(description) + "\n")
    return _end(0)


def _serve(name: str, folder: str, version: Any) -> int:
    from nesssi import link, loading

    link_to_container = link.current
    assert link_to_container is not None
    try:
        service = loading.load(name, folder, version)
    except loading.Broken as broken:
        link_to_container.send(_notification("broken", {"error": str(broken)}))
        return _end(1)
    gc.freeze()  # what is loaded now stays: no collection need look at it again
    link_to_container.send(_notification("ready", {"methods": list(service.methods)}))
    try:
        _answer_calls(link_to_container, service.methods)
    except ValueError as wrong:
        print(f"nesssi: the container sent what is no message: {wrong}", file=sys.stderr)
        return _end(1)
    return _end(0)


def _notification(method: str, params: dict[str, Any]) -> str:
    from nesssi import wire

    return wire.encode({"jsonrpc": "2.0", "method": method, "params": params}) + "\n"


def _end(code: int) -> int:
    """Lets the service's exit handlers and threads finish, for a while; then the kernel ends it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LINGER_SECONDS_MAX)
    return code


def _answer_calls(link: Any, methods: dict[str, Any]) -> None:
    """Answers calls until the container says shutdown or goes."""
    from nesssi.answer import answer

    while not link.stopping:
        received = link.receive()
        if received is None:
            return
        message, tagged = received
        method: str | None = message.get("method")
        if method == "call":
            answer(link, methods, message, tagged)
        elif method == "shutdown":
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
