"""Tells what arrived of a value, in words that every client's test can be compared with.

The words: n, b0 and b1, i-5, d and the eight bytes of the double, s and the text, x and the bytes, t and the time, [a,b], {name:value}.
Texts and names are percent-encoded UTF-8 (RFC 3986), the names in order of their bytes.
"""

import struct
from datetime import datetime
from urllib.parse import quote

from nesssi import Fault

FAULT_TEXT = "größer <&> €"


def words(value):
    if value is None:
        return "n"
    if isinstance(value, bool):
        return f"b{int(value)}"
    if isinstance(value, int):
        return f"i{value}"
    if isinstance(value, float):
        return "d" + struct.pack(">d", value).hex()
    if isinstance(value, str):
        return "s" + quote(value, safe="")
    if isinstance(value, bytes):
        return "x" + value.hex()
    if isinstance(value, datetime):
        return value.strftime("t%Y%m%dT%H:%M:%S")
    if isinstance(value, list):
        return "[" + ",".join(map(words, value)) + "]"
    members = sorted((quote(name, safe=""), words(member)) for name, member in value.items())
    return "{" + ",".join(f"{name}:{member}" for name, member in members) + "}"


def describe(req, method_name, args):
    """Says which values arrived, of any number and type."""
    return words(args)


def protocol(req, method_name, args: tuple[()]) -> str:
    """Says which dialect the call came in."""
    return req.protocol


def add(req, method_name, args: tuple[int, int]) -> int:
    """Adds two whole numbers: 3 < 5 & "so on"."""
    return args[0] + args[1]


def minus(req, method_name, args: tuple[int, int]) -> int:
    """minus(whole, part): what is left of a whole number."""
    return args[0] - args[1]


def fail(req, method_name, args):
    """Always answers the fault 1234."""
    raise Fault(1234, FAULT_TEXT)


def large(req, method_name, args: tuple[()]) -> list:
    """Whole numbers that take more than 32 bits."""
    return [2**31, -(2**31) - 1, 2**53 - 1, 2**63 - 1, -(2**63)]


def returns(req, method_name, args: tuple[()]) -> str:
    """A text with carriage returns, which XML keeps only where they are written as references."""
    return "a\rb\r\nc"


def nothing(req, method_name, args: tuple[()]) -> list:
    """Nothing, at several depths."""
    return [None, [None, {"a": None}]]


def several(req, method_name, args: tuple[()]) -> list:
    """A value of each simple type."""
    return [1, "x", 2.5, True, datetime(2026, 11, 22, 8, 0, 1), b"\x00\xff\x10"]


notes = []


def note(req, method_name, args: tuple[str]) -> None:
    """Remembers a text until it is asked for: a call whose answer nobody reads."""
    notes.append(args[0])


def noted(req, method_name, args: tuple[()]) -> list:
    """What was noted since this was asked."""
    answer = list(notes)
    notes.clear()
    return answer


def pair(kind):
    """Two methods of one declared parameter: one answers it, one says what arrived."""

    def same(req, method_name, args: tuple[kind]) -> kind:
        """Answers its parameter."""
        return args[0]

    def seen(req, method_name, args: tuple[kind]) -> str:
        """Says which value arrived."""
        return words(args)

    return same, seen


methods_list = {
    "describe": describe,
    "protocol": protocol,
    "add": add,
    "minus": minus,
    "fail": fail,
    "large": large,
    "returns": returns,
    "nothing": nothing,
    "several": several,
    "note": note,
    "noted": noted,
}
for name, kind in {
    "int": int,
    "double": float,
    "boolean": bool,
    "string": str,
    "dateTime": datetime,
    "base64": bytes,
    "array": list,
    "struct": dict,
}.items():
    methods_list[f"{name}_same"], methods_list[f"{name}_seen"] = pair(kind)
