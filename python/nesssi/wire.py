"""The wire is JSON, one object a line; this module turns values into its text and back.

What JSON has is written as JSON has it. The rest are tagged objects:

    bytes                       {"$nesssi": "binary", "base64": "..."}
    datetime                    {"$nesssi": "datetime", "iso": "20061122T12:00:00"}
    dict with a key "$nesssi"   {"$nesssi": "struct", "members": {...}}

Nearly no call has any of these, so a value is walked only where the text says that it might.
"""

from __future__ import annotations

import binascii
import json
import re
import sys
from typing import Any

# The most bytes of one line, its newline included.
LINE_BYTES_MAX = 16 * 1024 * 1024

_TAG = "$nesssi"
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**63 - 1

_scan = json.JSONDecoder().raw_decode
_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
# A run of digits that an integer of 64 bits may not hold. A long fraction matches too: it is walked
# for nothing, and sent.
_may_overflow = re.compile(r"[0-9]{19}").search


def decode(line: bytes) -> tuple[dict[str, Any], bool]:
    """The message in `line`, and whether its values need `untag`; ValueError if it is none."""
    message, _ = _scan(line.decode())
    if type(message) is not dict:
        raise ValueError("a message is a JSON object")
    return message, b"$nesssi" in line or b"\\u00" in line


def encode(value: Any) -> str:
    """`value` as JSON text; TypeError, ValueError or OverflowError if it has no form there."""
    try:
        text = _text(value)
    except TypeError:
        return _text(tag(value))
    if _TAG in text or _may_overflow(text):
        return _text(tag(value))
    return text


def to_bytes(text: str) -> bytes:
    """`text` as UTF-8. What no Unicode text can hold (a file name of odd bytes) becomes `?`."""
    return text.encode("utf-8", "replace")


def untag(value: Any) -> Any:
    """`value` with its tagged objects replaced by what they mean; ValueError for a wrong tag."""
    kind = type(value)
    if kind is list:
        return [untag(item) for item in value]
    if kind is not dict:
        return value
    if _TAG not in value:
        return {name: untag(item) for name, item in value.items()}
    return _untag_object(value)


def _untag_object(value: dict[str, Any]) -> Any:
    what = value[_TAG]
    try:
        if what == "binary":
            return binascii.a2b_base64(value["base64"])
        if what == "datetime":
            return _read_date(value["iso"])
        if what == "struct":
            return {name: untag(item) for name, item in value["members"].items()}
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError(f"a malformed {what}") from wrong
    raise ValueError("an unknown kind of value")


def _read_date(iso: str) -> Any:
    from datetime import datetime

    digits = iso.replace("-", "").replace(":", "").rstrip("Z")
    if digits.endswith("60"):  # a leap second, which datetime cannot say
        digits = digits[:-2] + "59"
    return datetime.strptime(digits, "%Y%m%dT%H%M%S")


def tag(value: Any) -> Any:
    """`value` with everything that JSON cannot say replaced by tagged objects."""
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int):
        if not _INTEGER_MIN <= value <= _INTEGER_MAX:
            raise OverflowError("an integer does not fit in 64 bits")
        return value
    if isinstance(value, dict):
        members = {_member_name(name): tag(item) for name, item in value.items()}
        return {_TAG: "struct", "members": members} if _TAG in members else members
    if isinstance(value, (list, tuple)):
        return [tag(item) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {_TAG: "binary", "base64": binascii.b2a_base64(value, newline=False).decode()}
    return _tag_object(value)


def _member_name(name: Any) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, int) and not isinstance(name, bool):
        return str(int(name))
    raise TypeError(f"a key of a dict is {type(name).__name__}, not str")


def _tag_object(value: Any) -> Any:
    """Dates, numpy's numbers and arrays, and the wrappers of `xmlrpc.client`.

    A value can be of a module's type only if that module is loaded: none is loaded to look.
    """
    dates = sys.modules.get("datetime")
    if dates is not None and isinstance(value, dates.date):
        return {_TAG: "datetime", "iso": _write_date(value)}
    xmlrpc = sys.modules.get("xmlrpc.client")
    if xmlrpc is not None and isinstance(value, xmlrpc.Binary):
        return tag(value.data)
    if xmlrpc is not None and isinstance(value, xmlrpc.DateTime):
        return {_TAG: "datetime", "iso": value.value}
    plain = getattr(value, "tolist", None)
    if callable(plain):
        return tag(plain())
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent")


def _write_date(value: Any) -> str:
    """The date as XML-RPC has it, which knows no zone: one with a zone is told in UTC."""
    zone = getattr(value, "tzinfo", None)
    if zone is not None:
        from datetime import timezone

        value = value.astimezone(timezone.utc)
    hour, minute, second = (getattr(value, part, 0) for part in ("hour", "minute", "second"))
    day = f"{value.year:04}{value.month:02}{value.day:02}"
    return f"{day}T{hour:02}:{minute:02}:{second:02}"
