"""suds-community against a server, from the server's WSDL."""

import base64
import urllib.request

import suds
import suds.client
from suds.sax.text import Text
from suds.transport.http import HttpTransport

from soap_suite import run
from words import URL, context


class Transport(HttpTransport):
    def u2handlers(self):
        return [*super().u2handlers(), urllib.request.HTTPSHandler(context=context())]


client = suds.client.Client(f"{URL}kinds?wsdl", transport=Transport(), cache=None)


def write(value, typed):
    if isinstance(value, list):
        array = client.factory.create("{urn:nesssi-types:1}Array")
        array.item = [write(item, None) for item in value]
        return array
    if isinstance(value, dict):
        struct = client.factory.create("{http://xml.apache.org/xml-soap}Map")
        for name, member in value.items():
            item = client.factory.create("{http://xml.apache.org/xml-soap}mapItem")
            item.key, item.value = name, write(member, None)
            struct.item.append(item)
        return struct
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def read(value, typed):
    kind = type(value).__name__
    if kind == "Array":
        return [read(item, None) for item in getattr(value, "item", [])]
    if kind == "Map":
        return {item.key or "": read(item.value, None) for item in getattr(value, "item", [])}
    if typed == "base64" and value is not None:
        return base64.b64decode(value)
    return str(value) if isinstance(value, Text) else value


def call(method, *args):
    return getattr(client.service, method)(*args)


def describe(values):
    return client.service.describe(values)


def code_and_text(error):
    return int(error.fault.detail.fault.code), str(error.fault.faultstring)


# suds makes a connection for each call, and has no nil to send.
run(call, describe, write, read, suds.WebFault, code_and_text, None, nil=False)
