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
from types import ModuleType, TracebackType
from typing import Any, Callable, Iterator

from nesssi.modules import Version

_ROOT = "nesssi_services"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_PATH = re.compile(r"(?<![\w.])/[^\s'\":,;)]*/")
_REASON_CHARACTERS_MAX = 500

Method = Callable[[Any, str, "list[Any]"], Any]


class Broken(Exception):
    """The service cannot answer; the text says why, and names no path of this machine.

    `cause` is what its code raised, if it did.
    """

    cause: BaseException | None = None


class Service:
    """A service that was imported: its module, and its methods by the names that callers use."""

    def __init__(self, module: ModuleType, methods: dict[str, Method]) -> None:
        self.module = module
        self.methods = methods


def load(name: str, folder: str, version: Version | None = None) -> Service:
    """Imports the service `name` from `folder`, or from the `version` of it that is given; `Broken` with
    the reason if that fails.

    The whole story of a failure goes to stderr, the service's log.
    """
    module = import_service(name, folder, version)
    for _, wrong in wrong_methods(module):
        raise Broken(wrong)
    return Service(module, dict(module.methods_list))


def import_service(name: str, folder: str, version: Version | None = None) -> ModuleType:
    """The module of the service `name`; `Broken` as `load` says."""
    folder = os.path.abspath(folder)
    parts = name.split(".")
    if not all(_NAME.fullmatch(part) for part in parts):
        raise Broken("the name of a service is words of letters, digits and _, joined by dots")
    is_there = os.path.isfile(os.path.join(folder, "__init__.py"))
    if version is not None:
        is_there = "__init__.py" in version.files
        version.install()
    if not is_there:
        raise Broken("there is no __init__.py that can be read in the service's folder")
    try:
        return _run(parts, folder, version)
    except BaseException as wrong:
        traceback.print_exception(type(wrong), wrong, wrong.__traceback__)
        broken = Broken(_reason(wrong, folder))
        broken.cause = wrong
        raise broken from None


def _run(parts: list[str], folder: str, version: Version | None) -> ModuleType:
    above = folder
    for depth in range(len(parts) - 1, -1, -1):
        matches = os.path.basename(above) == parts[depth]
        above = os.path.dirname(above)
        _make_package([_ROOT, *parts[:depth]], above if matches else None)
    full_name = ".".join([_ROOT, *parts])
    if folder not in sys.path:
        sys.path.append(folder)
    path = os.path.join(folder, "__init__.py")
    loader = None if version is None else version.loader(full_name, path)
    spec = importlib.util.spec_from_file_location(
        full_name, path, loader=loader, submodule_search_locations=[folder]
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


def wrong_methods(module: ModuleType) -> Iterator[tuple[Any, str]]:
    """What is wrong with `methods_list`, each with the name in it that it is about (None: all of it)."""
    listed = getattr(module, "methods_list", None)
    if listed is None:
        yield None, "methods_list is missing: a dict {exposed name: function}"
    elif not isinstance(listed, dict):
        yield None, f"methods_list is a {type(listed).__name__}, not a dict"
    elif not listed:
        yield None, "methods_list is empty"
    else:
        for name, function in listed.items():
            if not isinstance(name, str) or not _METHOD.fullmatch(name):
                yield name, f"methods_list: {name!r:.80} is not the name of a method"
            elif not callable(function):
                kind = type(function).__name__
                yield name, f"methods_list: {name!r} is a {kind}, not a function"


def _reason(wrong: BaseException, folder: str) -> str:
    """One line such as `SyntaxError: invalid syntax (__init__.py, line 3)`."""
    file, line = place_of(wrong, folder)
    where = "" if file is None else f" ({file}, line {line})"
    return f"{text_of(wrong)}{where}"


def text_of(wrong: BaseException) -> str:
    """The exception in one line, without paths: `ValueError: no such thing`."""
    if isinstance(wrong, SyntaxError):
        text = wrong.msg or ""
    else:
        told = wrong.strerror if isinstance(wrong, OSError) and wrong.strerror else wrong
        text = _first_line(told)
    text = _PATH.sub("", text)[:_REASON_CHARACTERS_MAX]
    if isinstance(wrong, SystemExit):
        text = f"the module exits while it is imported, with {text or 0}"
    return f"{type(wrong).__name__}: {text}"


def _first_line(told: Any) -> str:
    try:
        return (str(told).splitlines() or [""])[0]
    except Exception:
        return "an exception that cannot be printed"


def place_of(wrong: BaseException, folder: str) -> tuple[str | None, int | None]:
    """The innermost line of the service's own code that the exception came through, or that is no
    Python: its file from the folder on, and its number."""
    if isinstance(wrong, SyntaxError):
        return _place(wrong.filename, wrong.lineno, folder)
    place: tuple[str | None, int | None] = (None, None)
    for frame, line in traceback.walk_tb(wrong.__traceback__):
        here = _place(frame.f_code.co_filename, line, folder)
        place = place if here[0] is None else here
    return place


def own_frames(wrong: BaseException, folder: str) -> TracebackType | None:
    """The traceback from the first line of the service's own code on; all of it where there is none."""
    traced = wrong.__traceback__
    while traced is not None:
        if _place(traced.tb_frame.f_code.co_filename, traced.tb_lineno, folder)[0] is not None:
            return traced
        traced = traced.tb_next
    return None


def _place(file: str | None, line: int | None, folder: str) -> tuple[str | None, int | None]:
    if file is None or line is None or not file.startswith(folder + os.sep):
        return None, None
    return os.path.relpath(file, folder), line
