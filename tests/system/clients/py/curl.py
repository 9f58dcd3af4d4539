"""curl against a server: the bodies are written here, as they would be in a shell."""

import json
import subprocess

from jsonrpc_suite import Fault, run
from words import CA, CERTIFICATE, KEY, RELAY, URL

# What curl says behind each body.
SAID = "\x1f%{http_code} %{content_type}\x1e"


def request(url, body, kind):
    yield from ["--silent", "--show-error", "--fail", "--cacert", CA, "--cert", CERTIFICATE, "--key", KEY]
    yield from ["--header", f"Content-Type: {kind}", "--data-binary", json.dumps(body), "--write-out", SAID, url]


def post(*bodies, url=URL, kind="application/json"):
    """What each of the requests answered: status, content type, body."""
    words = ["/usr/bin/curl"]
    for body in bodies:
        words += ["--next"] * (len(words) > 1) + list(request(url, body, kind))
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    answers = [answer.split("\x1f") for answer in out.removesuffix("\x1e").split("\x1e")]
    return [(*head.split(" ", 1), text) for text, head in answers]


def result(message):
    error = message.get("error")
    return message["result"] if error is None else Fault(error["code"], error["message"])


def raised(answer):
    if isinstance(answer, Fault):
        raise answer
    return answer


def call(method, *params):
    return called(method, params)


def named(method, **params):
    return called(method, params)


def called(method, params):
    body = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
    [(status, kind, text)] = post(body)
    assert (status, kind) == ("200", "application/json"), (status, kind)
    message = json.loads(text)
    assert message["jsonrpc"] == "2.0" and message["id"] == 1, message
    return raised(result(message))


def batch(calls):
    bodies = [{"jsonrpc": "2.0", "method": m, "params": params, "id": at} for at, (m, *params) in enumerate(calls)]
    [(_, _, text)] = post(bodies)
    messages = json.loads(text)
    assert [message["id"] for message in messages] == [0, 1, 2], messages
    return [result(message) for message in messages]


def notify(method, *params):
    [(status, _, text)] = post({"jsonrpc": "2.0", "method": method, "params": params})
    assert (status, text) == ("204", ""), (status, text)


def old_call(method, *params):
    """As the original's JavaScript sends it."""
    [(status, kind, text)] = post({"method": method, "params": params, "id": 1}, kind="text/json")
    assert (status, kind) == ("200", "text/json; charset=utf-8"), (status, kind)
    message = json.loads(text)
    assert set(message) == {"result", "error", "id"}, message
    return raised(result(message))


def two_calls(*calls):
    """One curl with two requests."""
    bodies = [{"jsonrpc": "2.0", "method": m, "params": params, "id": 1} for m, *params in calls]
    return [json.loads(text)["result"] for _, _, text in post(*bodies, url=RELAY)]


run(call, named, batch, notify, old_call, two_calls)
