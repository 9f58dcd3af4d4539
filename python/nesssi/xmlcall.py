"""XML-RPC as the client speaks it: a call out, a result or a fault back.

Python's own `xmlrpc.client`, with what it leaves out: integers of 64 bits, None, a carriage return
that stays one, and a clear word about text that XML cannot hold.
"""

from __future__ import annotations

import re
import xmlrpc.client
from datetime import datetime, timezone
from typing import Any, Callable
from xml.parsers.expat import ExpatError

from nesssi.fault import Fault

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_I4_MIN, _I4_MAX = -(2**31), 2**31 - 1
_I8_MIN, _I8_MAX = -(2**63), 2**63 - 1


def request(method: str, params: tuple[Any, ...]) -> bytes:
    """The body of a call; TypeError, ValueError or OverflowError for what cannot be sent."""
    arguments = _Marshaller("utf-8", allow_none=True).dumps(params)
    name = _escape(method)
    return (
        f"<?xml version='1.0'?>\n<methodCall>\n<methodName>{name}</methodName>\n"
        f"{arguments}</methodCall>\n"
    ).encode()


def result(body: bytes) -> Any:
    """The result in a reply; raises the `Fault` in it, ValueError if it is no XML-RPC reply."""
    parser, unmarshaller = xmlrpc.client.getparser(use_builtin_types=True)
    try:
        parser.feed(body)
        parser.close()
        values = unmarshaller.close()
    except xmlrpc.client.Fault as fault:
        raise Fault(fault.faultCode, fault.faultString) from None
    except (ExpatError, xmlrpc.client.ResponseError, IndexError, KeyError) as wrong:
        raise ValueError("the server's answer is no XML-RPC reply") from wrong
    return values[0] if values else None


def _escape(text: str) -> str:
    bad = _NOT_XML.search(text)
    if bad:
        raise ValueError(f"text with the character {bad.group()!r} cannot be sent: send it as bytes")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;")


Write = Callable[[str], object]


class _Marshaller(xmlrpc.client.Marshaller):
    dispatch = dict(xmlrpc.client.Marshaller.dispatch)

    def _dump_int(self, value: int, write: Write) -> None:
        if not _I8_MIN <= value <= _I8_MAX:
            raise OverflowError("an integer does not fit in 64 bits")
        kind = "int" if _I4_MIN <= value <= _I4_MAX else "i8"
        write(f"<value><{kind}>{int(value)}</{kind}></value>\n")

    def _dump_text(self, value: str, write: Write) -> None:
        write(f"<value><string>{_escape(value)}</string></value>\n")

    def _dump_double(self, value: float, write: Write) -> None:
        if not abs(value) < float("inf"):
            raise ValueError("a number that is not finite cannot be sent")
        write(f"<value><double>{float(value)!r}</double></value>\n")

    def _dump_date(self, value: datetime, write: Write) -> None:
        if value.tzinfo is not None:  # XML-RPC knows no zone: tell it in UTC
            value = value.astimezone(timezone.utc)
        text = f"{value.year:04}" + value.strftime("%m%dT%H:%M:%S")
        write(f"<value><dateTime.iso8601>{text}</dateTime.iso8601></value>\n")

    dispatch[int] = _dump_int
    dispatch[str] = _dump_text
    dispatch[float] = _dump_double
    dispatch[datetime] = _dump_date
