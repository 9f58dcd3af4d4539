"""JSON-RPC 2.0 as the client speaks it, where a program asks for `rpc="jsonrpc"`.

    >>> request("echo.echo", (1, b"x"))
    b'{"jsonrpc":"2.0","id":1,"method":"echo.echo","params":[1,{"$nesssi":"binary","base64":"eA=="}]}'
    >>> result(b'{"jsonrpc": "2.0", "id": 1, "result": {"$nesssi": "binary", "base64": "eA=="}}')
    b'x'
"""

from __future__ import annotations

import json
from typing import Any

from nesssi import wire
from nesssi.fault import fault_of

CONTENT_TYPE = "application/json"
# One connection carries one call at a time, so that one id is enough.
_ID = 1


def request(method: str, params: tuple[Any, ...]) -> bytes:
    """The body of a call; TypeError, ValueError or OverflowError for what cannot be sent."""
    try:
        call = {"jsonrpc": "2.0", "id": _ID, "method": method, "params": wire.tag(list(params))}
        text = json.dumps(call, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except RecursionError:
        raise ValueError("a parameter is nested too deeply to be sent") from None


def result(body: bytes) -> Any:
    """The result in a reply; raises the `Fault` in it, ValueError if it is no JSON-RPC reply."""
    try:
        reply = json.loads(body)
        if not isinstance(reply, dict):
            raise ValueError("the server's answer is no JSON-RPC reply")
        error = reply.get("error")
        if isinstance(error, dict):
            code, text = error.get("code"), error.get("message")
            if isinstance(code, int) and isinstance(text, str):
                raise fault_of(code, text)
        if error is not None or "result" not in reply or reply.get("id") != _ID:
            raise ValueError("the server's answer is no JSON-RPC reply")
        return wire.untag(reply["result"])
    except RecursionError:
        raise ValueError("the server's answer is nested too deeply") from None

