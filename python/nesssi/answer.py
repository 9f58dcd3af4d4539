"""An answer is one line for one call: a result, a fault, or the id of an incident.

This is the warm path: what it does for every call is counted in microseconds.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from nesssi import wire
from nesssi.api import Request
from nesssi.fault import INVALID_PARAMS, NO_SUCH_METHOD, OVER_LIMIT, Fault
from nesssi.link import Link
from nesssi.loading import Method

_EXCEPTION = -32000
_SIZE_SLACK_BYTES = 256


def answer(
    link: Link, methods: dict[str, Method], message: dict[str, Any], tagged: bool
) -> None:
    """Runs the method that `message` calls and sends what came of it.

    What ends a process (`sys.exit`, Ctrl-C) is let through: the worker ends without an answer.
    """
    params = message["params"]
    number = message["id"]
    request = Request(params["token"], params["req"])
    link.begin(request)
    try:
        result = _text_of_result(methods, params, request, tagged)
        line = f'{{"jsonrpc":"2.0","id":{number},"result":{result}}}\n'
    except (SystemExit, KeyboardInterrupt) as leaving:
        if link.is_whole():
            told = f"{type(leaving).__name__} {leaving}"
            _log(f"ends its worker: {told}", params, request)
        raise
    except BaseException as wrong:
        error = wire.encode(_error(wrong, params, request))
        line = f'{{"jsonrpc":"2.0","id":{number},"error":{error}}}\n'
    _flush()
    link.finish(line)


def _text_of_result(
    methods: dict[str, Method], params: dict[str, Any], request: Request, tagged: bool
) -> str:
    function = methods.get(params["name"])
    if function is None:
        raise Fault(NO_SUCH_METHOD, f"no such method: {params['method']}")
    args = params["args"]
    if tagged:
        args = _untagged(args)
    text = wire.encode(function(request, params["method"], args))
    if len(text) * 4 > wire.LINE_BYTES_MAX:
        _check_size(text)
    return text


def _untagged(args: list[Any]) -> list[Any]:
    try:
        return wire.untag(args)
    except ValueError as wrong:
        raise Fault(INVALID_PARAMS, f"a parameter cannot be read: {wrong}") from wrong


def _check_size(text: str) -> None:
    if len(wire.to_bytes(text)) + _SIZE_SLACK_BYTES > wire.LINE_BYTES_MAX:
        raise Fault(OVER_LIMIT, f"the answer is longer than {wire.LINE_BYTES_MAX} bytes")


def _error(wrong: BaseException, params: dict[str, Any], request: Request) -> dict[str, Any]:
    """A fault as the service told it; of anything else the caller learns an incident id."""
    told = wrong.args if isinstance(wrong, RuntimeError) else ()
    if len(told) == 2 and isinstance(told[0], int) and not isinstance(told[0], bool):
        code, text = told
        if -(2**31) <= code < 2**31:
            return {"code": int(code), "message": str(text), "data": {"kind": "fault"}}
    incident = os.urandom(4).hex()
    _log(f"incident {incident}", params, request, wrong)
    return {
        "code": _EXCEPTION,
        "message": f"incident {incident}",
        "data": {"kind": "exception", "incident": incident},
    }


def _log(what: str, params: dict[str, Any], request: Request, wrong: Any = None) -> None:
    """Writes to the service's log, at one go and past whatever the service did to `sys.stderr`."""
    story = f"nesssi: {what} (method {params['method']}, request {request.request_id})\n"
    if wrong is not None:
        story += _story(wrong)
    try:
        os.write(2, wire.to_bytes(story))
    except OSError:
        pass  # a full disk or a closed log: the call is answered all the same


def _story(wrong: BaseException) -> str:
    here = wrong.__traceback__
    try:
        # This file's own two frames tell a service's developer nothing.
        while here is not None and here.tb_frame.f_code.co_filename == __file__:
            here = here.tb_next
        return "".join(traceback.format_exception(type(wrong), wrong, here or wrong.__traceback__))
    except Exception:
        return f"{type(wrong).__name__}, which cannot be printed\n"


def _flush() -> None:
    """What the service printed without a newline reaches the log with its call."""
    try:
        sys.stdout.flush()
    except Exception:
        pass  # closed or replaced by the service
