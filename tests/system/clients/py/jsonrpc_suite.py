"""What every JSON-RPC client of Python's tries. A client is six functions and an exception."""

import base64
from datetime import datetime

import words as w
from words import fault_words


class Fault(Exception):
    """A client's fault: its code and its text."""


def values(value):
    """A value as JSON-RPC answers it: tagged objects become bytes and times."""
    if isinstance(value, list):
        return [values(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("$nesssi") == "binary":
        return base64.b64decode(value["base64"], validate=True)
    if value.get("$nesssi") == "datetime":
        return datetime.strptime(value["iso"], "%Y%m%dT%H:%M:%S")
    return {name: values(member) for name, member in value.items()}


def words(value):
    return w.words(values(value))


def binary(data):
    return {"$nesssi": "binary", "base64": base64.b64encode(data).decode()}


def time(text):
    return {"$nesssi": "datetime", "iso": text}


def run(call, named, batch, notify, old_call, two_calls):
    tell = w.teller(Fault, lambda fault: fault.args)

    def both(ability, *params):
        tell(f"{ability}.seen", lambda: call("kinds.describe", *params))
        tell(f"{ability}.back", lambda: words(call("echo.echo", *params)))

    both("int", 0, 1, -1, 42, 2**31 - 1, -(2**31))
    tell("large.seen", lambda: call("kinds.describe", 2**31, -(2**31) - 1, 2**53 - 1, 2**63 - 1, -(2**63)))
    tell("large.back", lambda: words(call("kinds.large")))
    both("double", 0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3.0, -0.0)
    both("boolean", True, False)
    both("string", "", " a ", "<&>\"']]>", "gr\u00fc\u00dfe \u20ac", "\U0001f600\U0001d11e", "a\tb\nc", "a\rb\r\nc", "\x7f")
    both("dateTime", time("20261122T08:00:01"), time("19691231T23:59:59"))
    both("base64", binary(bytes(range(256))), binary(b""))
    both("array", [], [[]], [1, "x", [2.5, [True, []]]])
    both("struct", {}, {"": 1, "a b": "x", "<&>": [], "\u00e9\U0001f600": {"deep": {"er": [{}]}}})
    both("null", None, [None, {"a": None}])

    tell("fault.none", lambda: call("no.such"))
    tell("fault.own", lambda: call("kinds.fail"))

    tell("introspection.list", lambda: words("kinds.describe" in call("system.listMethods")))
    tell("introspection.help", lambda: words(call("system.methodHelp", "kinds.add")))
    tell("introspection.signature", lambda: words(call("system.methodSignature", "kinds.add")))

    tell("named", lambda: words(named("kinds.minus", part=2, whole=5)))
    tell("named.wrong", lambda: words(named("kinds.minus", part=2)))

    if batch:
        calls = [("kinds.add", 1, 2), ("kinds.fail",), ("echo.echo", "last")]
        told = lambda one: fault_words(*one.args) if isinstance(one, Fault) else words(one)
        tell("batch", lambda: " ".join(map(told, batch(calls))))
    if notify:
        # What a client makes of the answer, if it should make nothing of it.
        said = lambda: str(notify("kinds.note", "quietly") or "")
        tell("notification", lambda: f"{said()} {words(call('kinds.noted'))}".strip())
    if old_call:
        tell("1.0.call", lambda: words(old_call("kinds.add", 1, 2)))
        tell("1.0.fault", lambda: words(old_call("no.such")))
    tell("keep-alive", lambda: words(two_calls(("kinds.add", 1, 2), ("kinds.add", 3, 4))))
