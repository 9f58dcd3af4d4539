"""What a server says of its methods: their names, their help, as Python shows them. For both clients."""

from __future__ import annotations

from typing import Any

from nesssi.core import Core
from nesssi.fault import Fault

HELPS_MAX = 10_000


async def names(core: Core) -> list[str]:
    """The names of all methods that this caller may call; asked for once."""
    if core.names is None:
        found = (await core.call("system.listMethods", ())).value
        core.names = sorted({name for name in found if isinstance(name, str)} if isinstance(found, list) else [])
    return core.names


async def help_of(core: Core, name: str) -> str:
    """What the server says of a method or of a service; asked for once."""
    if name not in core.helps:
        if len(core.helps) >= HELPS_MAX:
            core.helps.clear()
        known = await names(core)
        core.helps[name] = await _of_method(core, name) if name in known else await _of_service(core, name, known)
    return core.helps[name]


def below(known: list[str] | None, name: str) -> list[str]:
    """What may follow `name` and a dot.

    >>> below(["a.b", "a.c.d", "ab.c"], "a")
    ['b', 'c']
    >>> below(["a.b", "a.c.d", "ab.c"], "")
    ['a', 'ab']
    """
    start = f"{name}." if name else ""
    found = {one[len(start) :].split(".")[0] for one in known or () if one.startswith(start)}
    return sorted(one for one in found if one.isidentifier())


def signature_lines(name: str, signatures: Any) -> str:
    """A method's signatures, a line each; "" where the server does not know them.

    >>> signature_lines("sleepy.sleepyAdd", [["string", "double", "double"]])
    'sleepy.sleepyAdd(double, double) -> string'
    >>> signature_lines("a.b", "undef")
    ''
    """
    lines = []
    for one in signatures if isinstance(signatures, list) else []:
        if isinstance(one, list) and one and all(isinstance(kind, str) for kind in one):
            lines.append(f"{name}({', '.join(one[1:])}) -> {one[0]}")
    return "\n".join(lines)


async def _of_method(core: Core, name: str) -> str:
    try:
        told = (await core.call("service.help", (name,))).value
        if isinstance(told, str) and told:
            return told
    except Fault:
        pass  # a server that tells of services alone
    text = (await core.call("system.methodHelp", (name,))).value
    signatures = (await core.call("system.methodSignature", (name,))).value
    parts = [signature_lines(name, signatures), text if isinstance(text, str) else ""]
    return "\n\n".join(part for part in parts if part)


async def _of_service(core: Core, name: str, known: list[str]) -> str:
    methods = [one for one in known if one.startswith(f"{name}.")]
    if not methods:
        return f"{name}: the server has no such method or service"
    try:
        text = (await core.call("service.help", (name,))).value
        if isinstance(text, str) and text:
            return text
    except Fault:
        pass  # the container's own services have no entry
    return f"The service {name}. Its methods:\n\n" + "\n".join(f"    {one}" for one in methods)
