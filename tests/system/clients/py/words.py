"""What the Python clients share: values in the words of services/kinds, and a line for each result."""

import os
import ssl
import struct
from datetime import datetime
from urllib.parse import quote

URL, RELAY, CA, CERTIFICATE, KEY = (os.environ[n] for n in ("URL", "RELAY", "CA", "CERTIFICATE", "KEY"))


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
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(words, value)) + "]"
    if not isinstance(value, dict):
        raise TypeError(f"no words for {value!r}")
    members = sorted((quote(name, safe=""), words(member)) for name, member in value.items())
    return "{" + ",".join(f"{name}:{member}" for name, member in members) + "}"


def fault_words(code, text):
    return f"f{code}:{quote(text, safe='')}"


def teller(kind, code_and_text):
    """A function that prints what an act results in; faults are exceptions of the `kind`."""

    def tell(ability, act):
        try:
            result = act()
        except kind as fault:
            result = fault_words(*code_and_text(fault))
        except Exception as error:
            result = f"failed: {type(error).__name__}: {error}".replace("\n", " ")
        print(f"{ability}\t{result}", flush=True)

    return tell


def context():
    """TLS with the certificate, as Python's own library does it."""
    context = ssl.create_default_context(cafile=CA)
    context.load_cert_chain(CERTIFICATE, KEY)
    return context
