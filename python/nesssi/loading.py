"""Loading is importing a service's folder, whatever is in it, and saying plainly why it failed.

A service named `apple.xray.juliet` is imported as the package `nesssi_services.apple.xray.juliet`: no
name of a service can take the place of a module of Python's. `from . import x` finds the folder's own
modules; `from ..common import x` finds a module beside it, one folder up (what the folders above say
in their own `__init__.py` is not run for it). `import x` finds the folder's modules last, after all
others.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import traceback
from types import ModuleType
from typing import Any, Callable

_ROOT = "nesssi_services"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_PATH = re.compile(r"(?<![\w.])/[^\s'\":,;)]*/")
_REASON_CHARACTERS_MAX = 500

Method = Callable[[Any, str, "list[Any]"], Any]


class Broken(Exception):
    """The service cannot answer; the text says why, and names no path of this machine."""


class Service:
    """A service that was imported: its module, and its methods by the names that callers use."""

    def __init__(self, module: ModuleType, methods: dict[str, Method]) -> None:
        self.module = module
        self.methods = methods


def load(name: str, folder: str) -> Service:
    """Imports the service `name` from `folder`; `Broken` with the reason if that fails.

    The whole story of a failure goes to stderr, the service's log.
    """
    folder = os.path.abspath(folder)
    parts = name.split(".")
    if not all(_NAME.fullmatch(part) for part in parts):
        raise Broken("the name of a service is words of letters, digits and _, joined by dots")
    if not os.path.isfile(os.path.join(folder, "__init__.py")):
        raise Broken("there is no __init__.py that can be read in the service's folder")
    try:
        module = _run(parts, folder)
    except BaseException as wrong:
        traceback.print_exception(type(wrong), wrong, wrong.__traceback__)
        raise Broken(_reason(wrong, folder)) from None
    return Service(module, _methods(module))


def _run(parts: list[str], folder: str) -> ModuleType:
    above = folder
    for depth in range(len(parts) - 1, -1, -1):
        matches = os.path.basename(above) == parts[depth]
        above = os.path.dirname(above)
        _make_package([_ROOT, *parts[:depth]], above if matches else None)
    full_name = ".".join([_ROOT, *parts])
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(
        full_name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:
        raise ImportError("no loader for __init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module
    spec.loader.exec_module(module)
    return module


def _make_package(parts: list[str], folder: str | None) -> None:
    """A package that runs no code: a place for the modules that lie in `folder`."""
    name = ".".join(parts)
    package = ModuleType(name)
    package.__path__ = [] if folder is None else [folder]
    sys.modules[name] = package


def _methods(module: ModuleType) -> dict[str, Method]:
    listed = getattr(module, "methods_list", None)
    if listed is None:
        raise Broken("methods_list is missing: a dict {exposed name: function}")
    if not isinstance(listed, dict):
        raise Broken(f"methods_list is a {type(listed).__name__}, not a dict")
    if not listed:
        raise Broken("methods_list is empty")
    for name, function in listed.items():
        if not isinstance(name, str) or not _METHOD.fullmatch(name):
            raise Broken(f"methods_list: {name!r:.80} is not the name of a method")
        if not callable(function):
            raise Broken(f"methods_list: {name!r} is a {type(function).__name__}, not a function")
    return dict(listed)


def _reason(wrong: BaseException, folder: str) -> str:
    """One line such as `SyntaxError: invalid syntax (__init__.py, line 3)`."""
    if isinstance(wrong, SyntaxError):
        text, where = wrong.msg or "", _place(wrong.filename, wrong.lineno, folder)
    else:
        told = wrong.strerror if isinstance(wrong, OSError) and wrong.strerror else wrong
        text, where = _first_line(told), _last_place(wrong, folder)
    text = _PATH.sub("", text)[:_REASON_CHARACTERS_MAX]
    if isinstance(wrong, SystemExit):
        text = f"the module exits while it is imported, with {text or 0}"
    return f"{type(wrong).__name__}: {text}{where}"


def _first_line(told: Any) -> str:
    try:
        return (str(told).splitlines() or [""])[0]
    except Exception:
        return "an exception that cannot be printed"


def _last_place(wrong: BaseException, folder: str) -> str:
    """The innermost line of the service's own code that the exception came through."""
    place = ""
    for frame, line in traceback.walk_tb(wrong.__traceback__):
        place = _place(frame.f_code.co_filename, line, folder) or place
    return place


def _place(file: str | None, line: int | None, folder: str) -> str:
    if file is None or line is None or not file.startswith(folder + os.sep):
        return ""
    return f" ({os.path.relpath(file, folder)}, line {line})"
