"""XML-RPC as the client speaks it: a call out, a result or a fault back.

Beside what Python's own `xmlrpc.client` does: integers of 64 bits, None, subclasses, a carriage return that stays
one, and a clear word about text that XML cannot hold. Of what comes back nothing is expanded, nothing is fetched,
and depth is bounded.

    >>> text = b"<methodResponse><params><param><value><i8>7</i8></value></param></params></methodResponse>"
    >>> result(text)
    7
"""

from __future__ import annotations

import binascii
import re
import sys
from datetime import date, datetime, timezone
from typing import Any, Callable
from xml.parsers import expat

from nesssi.fault import fault_of

DEPTH_MAX = 256
CONTENT_TYPE = "text/xml"

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_I4_MIN, _I4_MAX = -(2**31), 2**31 - 1
_I8_MIN, _I8_MAX = -(2**63), 2**63 - 1
_NUMBER_BYTES_MAX = 400


def request(method: str, params: tuple[Any, ...]) -> bytes:
    """The body of a call; TypeError, ValueError or OverflowError for what cannot be sent."""
    out = [f"<?xml version='1.0'?>\n<methodCall><methodName>{_escape(method)}</methodName><params>"]
    for value in params:
        out.append("<param>")
        _write(value, out, 1)
        out.append("</param>")
    out.append("</params></methodCall>\n")
    return "".join(out).encode()


def result(body: bytes) -> Any:
    """The result in a reply; raises the `Fault` in it, ValueError if it is no XML-RPC reply."""
    reader = _Reader()
    try:
        reader.parse(body)
    except expat.ExpatError as wrong:
        raise ValueError(f"the server's answer is no XML-RPC reply: {wrong}") from None
    if reader.values is None or len(reader.values) > 1:
        raise ValueError("the server's answer is no XML-RPC reply")
    value = reader.values[0] if reader.values else None
    if not reader.is_fault:
        return value
    if isinstance(value, dict):
        code, text = value.get("faultCode"), value.get("faultString")
        if isinstance(code, int) and isinstance(text, str):
            raise fault_of(code, text)
    raise ValueError("the server's answer is a fault without a code and a text")


def _boolean(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"no boolean: {text[:20]!r}")
    return text == "1"


def _integer(text: str) -> int:
    if len(text) > _NUMBER_BYTES_MAX:
        raise ValueError("an integer is too long")
    return int(text)


def _date(text: str) -> datetime:
    digits = text.replace("-", "").replace(":", "")
    if digits.endswith("Z"):
        digits = digits[:-1]
    if digits.endswith("60"):  # a leap second, which datetime cannot say
        digits = digits[:-2] + "59"
    return datetime.strptime(digits, "%Y%m%dT%H%M%S")


def _bytes(text: str) -> bytes:
    return binascii.a2b_base64(text)


_SCALARS: dict[str, Callable[[str], Any]] = {
    "int": _integer, "i1": _integer, "i2": _integer, "i4": _integer, "i8": _integer, "biginteger": _integer,
    "boolean": _boolean, "double": float, "float": float,
    "dateTime.iso8601": _date, "dateTime": _date, "base64": _bytes,
}  # fmt: skip
_KNOWN = frozenset(
    "methodResponse fault params param value array data struct member name string nil".split()
) | frozenset(_SCALARS)


class _Reader:
    """Reads a reply: a stack of what is open, and one value that waits to be put somewhere."""

    def __init__(self) -> None:
        self.values: list[Any] | None = None
        self.is_fault = False
        self._path: list[str] = []
        # An array's items, a struct's members with the name that is due, or None for a scalar.
        self._open: list[Any] = []
        self._names: list[str | None] = []
        self._value: Any = None
        # Whether the value that is open has had its type element.
        self._typed: list[bool] = []
        self._text: list[str] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        # No document type at all: so there is no entity but XML's own five.
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse

    def parse(self, body: bytes) -> None:
        self._parser.Parse(body, True)

    def _refuse(self, *_: object) -> None:
        raise ValueError("the server's answer has a document type declaration, which is never read")

    def _start(self, tag: str, _: object) -> None:
        tag = tag.rpartition(":")[2]
        if len(self._path) >= DEPTH_MAX:
            raise ValueError(f"the server's answer is nested deeper than {DEPTH_MAX}")
        parent = self._path[-1] if self._path else ""
        if tag not in _KNOWN or (parent == "") != (tag == "methodResponse"):
            raise ValueError(f"the server's answer is no XML-RPC reply: <{tag[:40]}> in <{parent}>")
        if parent == "value":
            if self._typed[-1]:
                raise ValueError("the server's answer has a value of two types")
            self._typed[-1] = True
        self._path.append(tag)
        self._text.clear()
        if tag == "value":
            self._typed.append(False)
        elif tag == "array":
            self._open.append([])
        elif tag == "struct":
            self._open.append({})
            self._names.append(None)
        elif tag in ("params", "fault"):
            self.values = []
            self.is_fault = tag == "fault"

    def _end(self, tag: str) -> None:
        tag = self._path.pop()
        text = "".join(self._text)
        self._text.clear()
        if tag == "value":
            if not self._typed.pop():
                self._value = text
            self._put(self._value)
            self._value = None
        elif tag == "string":
            self._value = text
        elif tag in _SCALARS:
            try:
                self._value = _SCALARS[tag](text.strip())
            except ValueError as wrong:
                raise ValueError(f"the server's answer has a wrong <{tag}>: {wrong}") from None
        elif tag == "nil":
            self._value = None
        elif tag == "name" and self._names:
            self._names[-1] = text
        elif tag == "array":
            self._value = self._open.pop()
        elif tag == "struct":
            self._value = self._open.pop()
            self._names.pop()

    def _put(self, value: Any) -> None:
        parent = self._path[-1]
        if parent in ("param", "fault") and self.values is not None:
            self.values.append(value)
        elif parent == "data" and self._open and isinstance(self._open[-1], list):
            self._open[-1].append(value)
        elif parent == "member" and self._open and isinstance(self._open[-1], dict):
            name = self._names[-1]
            if name is None or name in self._open[-1]:
                raise ValueError("the server's answer has a member without a name, or one twice")
            self._open[-1][name] = value
            self._names[-1] = None
        else:
            raise ValueError(f"the server's answer is no XML-RPC reply: a value in <{parent}>")


def _escape(text: str) -> str:
    bad = _NOT_XML.search(text)
    if bad:
        raise ValueError(f"text with the character {bad.group()!r} cannot be sent: send it as bytes")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;")


def _write(value: Any, out: list[str], depth: int) -> None:
    """Writes one value. A subclass is what it is a kind of, so that a `Session` is a string."""
    if depth > DEPTH_MAX:
        raise ValueError(f"a parameter is nested deeper than {DEPTH_MAX}")
    if value is None:
        out.append("<value><nil/></value>")
    elif isinstance(value, bool):
        out.append(f"<value><boolean>{int(value)}</boolean></value>")
    elif isinstance(value, int):
        if not _I8_MIN <= value <= _I8_MAX:
            raise OverflowError("an integer does not fit in 64 bits")
        kind = "int" if _I4_MIN <= value <= _I4_MAX else "i8"
        out.append(f"<value><{kind}>{int(value)}</{kind}></value>")
    elif isinstance(value, str):
        out.append(f"<value><string>{_escape(value)}</string></value>")
    elif isinstance(value, float):
        if not abs(value) < float("inf"):
            raise ValueError("a number that is not finite cannot be sent")
        out.append(f"<value><double>{float(value)!r}</double></value>")
    elif isinstance(value, (bytes, bytearray, memoryview)):
        text = binascii.b2a_base64(value, newline=False).decode()
        out.append(f"<value><base64>{text}</base64></value>")
    elif isinstance(value, (list, tuple)):
        out.append("<value><array><data>")
        for item in value:
            _write(item, out, depth + 1)
        out.append("</data></array></value>")
    elif isinstance(value, dict):
        out.append("<value><struct>")
        for name, item in value.items():
            if not isinstance(name, str):
                raise TypeError(f"a key of a dict is {type(name).__name__}, not str")
            out.append(f"<member><name>{_escape(name)}</name>")
            _write(item, out, depth + 1)
            out.append("</member>")
        out.append("</struct></value>")
    elif isinstance(value, date):
        out.append(f"<value><dateTime.iso8601>{_date_text(value)}</dateTime.iso8601></value>")
    else:
        _write(_plain(value), out, depth + 1)


def _date_text(value: date) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is not None:  # XML-RPC knows no zone: tell it in UTC
            value = value.astimezone(timezone.utc)
        return f"{value.year:04}" + value.strftime("%m%dT%H:%M:%S")
    return f"{value.year:04}" + value.strftime("%m%dT00:00:00")


def _plain(value: Any) -> Any:
    """What a value is to us that is none of ours: numpy's, or the wrappers of `xmlrpc.client`."""
    wrappers = sys.modules.get("xmlrpc.client")
    if wrappers is not None and isinstance(value, wrappers.Binary):
        return value.data
    if wrappers is not None and isinstance(value, wrappers.DateTime):
        return _date(value.value)
    plain = getattr(value, "tolist", None)
    if callable(plain):
        return plain()
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent")
