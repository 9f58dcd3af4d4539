"""Python's own xmlrpc.client against a server: a line `ability <TAB> what came` for each ability."""

import xmlrpc.client as x
from datetime import datetime

from words import RELAY, URL, context, fault_words, teller, words

tell = teller(x.Fault, lambda fault: (fault.faultCode, fault.faultString))


def client(url=URL, **options):
    return x.ServerProxy(url, context=context(), use_builtin_types=True, allow_none=True, **options)


server = client()


def both(ability, *values):
    tell(f"{ability}.seen", lambda: server.kinds.describe(*values))
    tell(f"{ability}.back", lambda: words(server.echo.echo(*values)))


both("int", 0, 1, -1, 42, 2**31 - 1, -(2**31))
tell("i8.back", lambda: words(server.kinds.large()))
both("double", 0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3.0, -0.0)
both("boolean", True, False)
both("string", "", " a ", "<&>\"']]>", "gr\u00fc\u00dfe \u20ac", "\U0001f600\U0001d11e", "a\tb\nc")
tell("cr.seen", lambda: server.kinds.describe("a\rb\r\nc"))
tell("cr.back", lambda: words(server.kinds.returns()))
both("dateTime", datetime(2026, 11, 22, 8, 0, 1), datetime(1969, 12, 31, 23, 59, 59))
both("base64", bytes(range(256)), b"")
both("array", [], [[]], [1, "x", [2.5, [True, []]]])
both("struct", {}, {"": 1, "a b": "x", "<&>": [], "\u00e9\U0001f600": {"deep": {"er": [{}]}}})
tell("nil.seen", lambda: server.kinds.describe(None, [None, {"a": None}]))
tell("nil.back", lambda: words(server.kinds.nothing()))

tell("fault.none", server.no.such)
tell("fault.own", server.kinds.fail)

tell("introspection.list", lambda: words("kinds.describe" in server.system.listMethods()))
tell("introspection.help", lambda: words(server.system.methodHelp("kinds.add")))
tell("introspection.signature", lambda: words(server.system.methodSignature("kinds.add")))


def multicall():
    many = x.MultiCall(server)
    many.kinds.add(1, 2)
    many.kinds.fail()
    many.echo.echo("last")
    results = many()
    told = [words(results[0])]
    try:
        told.append(words(results[1]))
    except x.Fault as fault:
        told.append(fault_words(fault.faultCode, fault.faultString))
    return " ".join([*told, words(results[2])])


tell("multicall", multicall)

latin = client(encoding="iso-8859-1")
tell("encoding.seen", lambda: latin.kinds.describe("gr\u00fc\u00dfe"))
tell("encoding.back", lambda: words(latin.echo.echo("gr\u00fc\u00dfe")))


def keep_alive():
    relayed = client(RELAY)
    return words([relayed.kinds.add(1, 2), relayed.kinds.add(3, 4)])


tell("keep-alive", keep_alive)

v = server.validator1
stooges = {"moe": 1, "larry": 2, "curly": 3}
tell("validator1.arrayOfStructsTest", lambda: words(v.arrayOfStructsTest([stooges, {**stooges, "curly": -30}, stooges])))
tell("validator1.countTheEntities", lambda: words(v.countTheEntities("<<<>>&&&&'\"\"\"\"\" x")))
tell("validator1.easyStructTest", lambda: words(v.easyStructTest(stooges)))
tell("validator1.echoStructTest", lambda: words(v.echoStructTest({"one": stooges, "two": {**stooges, "moe": 9}})))
many = (7, True, "\u00e4", 2.5, datetime(2026, 11, 22, 8, 0, 1), b"\x00\xff\x10")
tell("validator1.manyTypesTest", lambda: words(v.manyTypesTest(*many)))
tell("validator1.moderateSizeArrayCheck", lambda: words(v.moderateSizeArrayCheck([f"no {i}" for i in range(150)])))
calendar = {"1999": {}, "2000": {"03": {"31": {}}, "04": {"01": stooges, "02": {}}}}
tell("validator1.nestedStructTest", lambda: words(v.nestedStructTest(calendar)))
tell("validator1.simpleStructReturnTest", lambda: words(v.simpleStructReturnTest(42)))
