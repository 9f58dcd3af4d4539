"""zeep against a server, from the server's WSDL."""

import datetime

import requests
import zeep
from zeep import xsd
from zeep.xsd.valueobjects import CompoundValue

from soap_suite import VERSION, run
from words import CA, CERTIFICATE, KEY, RELAY, URL

session = requests.Session()
session.verify, session.cert = CA, (CERTIFICATE, KEY)
client = zeep.Client(f"{URL}kinds?wsdl", transport=zeep.Transport(session=session))
BINDING = "soap12" if VERSION == "1.2" else "soap11"
service = client.bind("kinds", f"kinds.{BINDING}")

ARRAY = client.get_type("{urn:nesssi-types:1}Array")
MAP = client.get_type("{http://xml.apache.org/xml-soap}Map")
MAP_ITEM = client.get_type("{http://xml.apache.org/xml-soap}mapItem")
SIMPLE = {
    bool: xsd.Boolean(),
    int: xsd.Long(),
    float: xsd.Double(),
    str: xsd.String(),
    datetime.datetime: xsd.DateTime(),
    bytes: xsd.Base64Binary(),
}


def write(value, typed):
    """A value as zeep takes it: where no type is declared, with the type that it has."""
    if value is None:
        return xsd.Nil
    if isinstance(value, list):
        array = ARRAY(item=[write(item, None) for item in value])
        return array if typed else xsd.AnyObject(ARRAY, array)
    if isinstance(value, dict):
        struct = MAP(item=[MAP_ITEM(key=name, value=write(member, None)) for name, member in value.items()])
        return struct if typed else xsd.AnyObject(MAP, struct)
    return value if typed else xsd.AnyObject(SIMPLE[type(value)], value)


def read(value, typed):
    """What zeep answers for a result that is an Array or a Map is the list of its items alone."""
    kind = type(value)._xsd_type.qname.localname if isinstance(value, CompoundValue) else None
    if typed in ("array", "struct") and isinstance(value, list):
        kind, items = typed, value
    elif kind:
        items = value.item
    if kind in ("array", "Array"):
        return [read(item, None) for item in items]
    if kind in ("struct", "Map"):
        return {item.key or "": read(item.value, None) for item in items}
    return value


def call(method, *args):
    return service[method](*args)


def describe(values):
    return service.describe(arg=values)


def two_calls(*calls):
    relayed = client.create_service(f"{{urn:nesssi:kinds}}kinds.{BINDING}", f"{RELAY}kinds")
    return [relayed.add(*args) for args in calls]


def code_and_text(fault):
    """The code stands in the detail."""
    detail = fault.detail[0]
    return int(detail.findtext("{*}code")), fault.message


run(call, describe, write, read, zeep.exceptions.Fault, code_and_text, two_calls)
