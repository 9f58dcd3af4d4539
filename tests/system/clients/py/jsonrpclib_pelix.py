"""jsonrpclib-pelix against a server."""

import jsonrpclib
from jsonrpclib.config import Config

from jsonrpc_suite import Fault, run
from words import RELAY, URL, context


def client(url=URL, **config):
    return jsonrpclib.ServerProxy(url, context=context(), config=Config(use_jsonclass=False, **config))


def called(of, method, *params, **named):
    try:
        return getattr(of, method)(*params, **named)
    except jsonrpclib.ProtocolError as error:
        raise fault(error) from error


def fault(error):
    code, text = error.args[0][:2]
    return Fault(code, text)


def batch(calls):
    many = jsonrpclib.MultiCall(server)
    for method, *params in calls:
        getattr(many, method)(*params)
    results = many()

    def one(at):
        try:
            return results[at]
        except jsonrpclib.ProtocolError as error:
            return fault(error)

    return [one(at) for at in range(len(results))]


def notify(method, *params):
    """jsonrpclib knows no status but 200: what is answered 204 was carried out, raises, and leaves a useless connection."""
    try:
        getattr(client()._notify, method)(*params)
    except jsonrpclib.jsonrpc.TransportError as error:
        return error.errcode
    return None


def two_calls(*calls):
    relayed = client(RELAY)
    return [called(relayed, method, *params) for method, *params in calls]


server = client()
old = client(version=1.0, content_type="text/json")
run(
    lambda method, *params: called(server, method, *params),
    lambda method, **params: called(server, method, **params),
    batch,
    notify,
    lambda method, *params: called(old, method, *params),
    two_calls,
)
