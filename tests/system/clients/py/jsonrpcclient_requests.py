"""jsonrpcclient, which writes and reads the messages, with requests, which carries them, against a server."""

import requests
from jsonrpcclient import Ok, notification, parse, request

from jsonrpc_suite import Fault, run
from words import CA, CERTIFICATE, KEY, RELAY, URL


def session():
    session = requests.Session()
    session.verify, session.cert = CA, (CERTIFICATE, KEY)
    return session


server = session()


def result(response):
    return response.result if isinstance(response, Ok) else Fault(response.code, response.message)


def called(of, url, method, params):
    answer = result(parse(of.post(url, json=request(method, params)).json()))
    if isinstance(answer, Fault):
        raise answer
    return answer


def batch(calls):
    messages = [request(method, params) for method, *params in calls]
    return [result(response) for response in parse(server.post(URL, json=messages).json())]


def notify(method, *params):
    answer = server.post(URL, json=notification(method, params))
    assert (answer.status_code, answer.text) == (204, ""), answer


def two_calls(*calls):
    relayed = session()
    return [called(relayed, RELAY, method, params) for method, *params in calls]


run(
    lambda method, *params: called(server, URL, method, params),
    lambda method, **params: called(server, URL, method, params),
    batch,
    notify,
    None,
    two_calls,
)
