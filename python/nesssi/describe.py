"""A description is what a service says of itself before anybody has called it.

Its methods with their help (the docstring) and their types (the annotations), and whom to ask. A
method's parameters arrive in one list, so their types are those of the annotation of `args`:

    def add(req, method_name, args: tuple[int, int]) -> str: ...             string add(int, int)
    def add(req, method_name, args: Union[tuple[int], tuple[int, int]]) -> str: ...     two forms

What the parameters are called stands in the docstring's first line, where it says how the method is
called: `add(n1, n2): adds two numbers`, or `add(n1[, n2]): ...`.
"""

from __future__ import annotations

import inspect
import itertools
import keyword
import re
import types
import typing
from datetime import date, datetime
from typing import Any

from nesssi.loading import Method, Service

_TYPES: dict[Any, str] = {
    bool: "boolean",
    bytearray: "base64",
    bytes: "base64",
    date: "dateTime.iso8601",
    datetime: "dateTime.iso8601",
    dict: "struct",
    float: "double",
    int: "int",
    list: "array",
    str: "string",
    tuple: "array",
    None: "nil",
    type(None): "nil",
}
_UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))
_FORMS_MAX = 16
_PARAMETERS_MAX = 255
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def describe(service: Service) -> dict[str, Any]:
    """The description of `service`, in the form of the service-worker protocol."""
    module = service.module
    methods = [_method(name, function) for name, function in service.methods.items()]
    return {
        "methods": methods,
        "contact": _said(module, "contact"),
        "purpose": _said(module, "purpose") or _first_line(module.__doc__),
        "version": _version(module),
        "batch": _said(module, "batch"),
    }


def _method(name: str, function: Method) -> dict[str, Any]:
    help_text, signature = _help(function), _signature(function)
    described: dict[str, Any] = {"name": name, "help": help_text, "signature": signature}
    parameters = _called(help_text, {name, getattr(function, "__name__", name)})
    fits = not signature or max(map(len, signature)) == len(parameters) + 1
    if parameters and fits:
        described["parameters"] = parameters
    return described


def _called(help_text: str, names: set[str]) -> list[str]:
    """The names of the parameters, from the longest call of one of `names` in the first line."""
    first = help_text.split("\n", 1)[0]
    longest: list[str] = []
    for called, inside in re.findall(r"([\w-]+)\(([^()]*)\)", first):
        words = [_name(part) for part in re.sub(r"[\[\]]", "", inside).split(",")]
        good = called in names and None not in words and len(set(words)) == len(words)
        if good and len(longest) < len(words) <= _PARAMETERS_MAX:
            longest = [word for word in words if word is not None]
    return longest


def _name(part: str) -> str | None:
    """The name in `n1`, `n1: int` or `n1=3`; nothing where there is none."""
    word = re.split("[:=]", part, maxsplit=1)[0].strip()
    return word if _WORD.fullmatch(word) and not keyword.iskeyword(word) else None


def _help(function: Method) -> str:
    return inspect.cleandoc(getattr(function, "__doc__", None) or "")


def _first_line(doc: str | None) -> str | None:
    lines = inspect.cleandoc(doc or "").splitlines()
    return lines[0] if lines else None


def _said(module: types.ModuleType, name: str) -> str | None:
    value = getattr(module, name, None)
    return value if isinstance(value, str) else None


def _version(module: types.ModuleType) -> str | None:
    """`version`, `__version__`, or the original's pair of numbers."""
    said = _said(module, "version") or _said(module, "__version__")
    major, minor = (getattr(module, f"{part}_version", None) for part in ("major", "minor"))
    if said is None and major is not None:
        return f"{major}.{minor or 0}"
    return said


def _signature(function: Method) -> list[list[str]]:
    """Every form of the method, its result's type first; nothing where a type is not told."""
    try:
        hints = typing.get_type_hints(function)
        parameters = list(inspect.signature(function).parameters)
    except Exception:  # annotations are the service's own code: whatever they raise, they tell nothing
        return []
    if "return" not in hints or len(parameters) < 3 or parameters[2] not in hints:
        return []
    results = [_type_name(result) for result in _alternatives(hints["return"])]
    forms = [_parameters(form) for form in _alternatives(hints[parameters[2]])]
    signatures = []
    for result, form in itertools.product(results, forms):
        if result is None or form is None:
            return []
        signatures.append([result, *form])
    return signatures[:_FORMS_MAX]


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)


def _parameters(hint: Any) -> list[str] | None:
    """The names of the types in a `tuple[...]` of known length."""
    items = typing.get_args(hint)
    if typing.get_origin(hint) is not tuple or Ellipsis in items:
        return None
    names = [_type_name(item) for item in items if item != ()]
    return None if None in names else [name for name in names if name is not None]


def _type_name(hint: Any) -> str | None:
    kind = typing.get_origin(hint) or hint
    try:
        return _TYPES.get(kind)
    except TypeError:  # not hashable
        return None
