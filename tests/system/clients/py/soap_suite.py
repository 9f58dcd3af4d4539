"""What the Python SOAP clients try. Each has its own way of writing and reading what XML Schema calls anyType."""

import os
from datetime import datetime

from words import teller, words

VERSION = os.environ["VERSION"]

TIMES = [datetime(2026, 11, 22, 8, 0, 1), datetime(1969, 12, 31, 23, 59, 59)]
TYPED = {
    "int": [0, 1, -1, 42, 2**31 - 1, -(2**31), 2**53 - 1, 2**63 - 1, -(2**63)],
    "double": [0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3.0, -0.0],
    "boolean": [True, False],
    "string": ["", " a ", "<&>\"']]>", "gr\u00fc\u00dfe \u20ac", "\U0001f600\U0001d11e", "a\tb\nc"],
    "dateTime": TIMES,
    "base64": [bytes(range(256)), b""],
    "array": [[], [[]], [1, "x", [2.5, [True, []]]]],
    "struct": [{}, {"": 1, "a b": "x", "<&>": [], "\u00e9\U0001f600": {"deep": {"er": [{}]}}}],
}
ANY = [1, "x", 2.5, True, TIMES[0], b"\x00\xff\x10"]


def run(call, describe, write, read, kind, code_and_text, two_calls, nil=True):
    """`call(method, *args)` with arguments that `write(value, type)` made; `read(value, type)` makes a value of what came."""
    tell = teller(kind, code_and_text)
    for name, values in TYPED.items():
        tell(f"{name}.seen", lambda: " ".join(call(f"{name}_seen", write(value, name)) for value in values))
        tell(f"{name}.back", lambda: " ".join(words(read(call(f"{name}_same", write(value, name)), name)) for value in values))
    tell("cr.seen", lambda: call("string_seen", "a\rb\r\nc"))
    tell("cr.back", lambda: words(call("returns")))
    tell("any.seen", lambda: describe([write(value, None) for value in ANY]))
    tell("any.back", lambda: words(read(call("several"), "array")))
    if nil:
        tell("nil.seen", lambda: describe([write(None, None), write([None, {"a": None}], None)]))
    tell("nil.back", lambda: words(read(call("nothing"), "array")))
    tell("version", lambda: f"{call('protocol') == 'soap' + VERSION.replace('.', '')}")
    tell("fault.own", lambda: call("fail"))
    if two_calls:
        tell("keep-alive", lambda: words(two_calls((1, 2), (3, 4))))
