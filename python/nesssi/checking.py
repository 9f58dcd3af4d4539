"""Checking is importing a service to see all that is wrong with it, for its developer.

`check` answers what `describe` does, and beside it where each method stands, the problems that were
found, each with its file and line, and the end of the traceback where the import failed. A problem is an
`error` (the service or a method of it cannot answer), a `warning`, or a `hint`.
"""

from __future__ import annotations

import ast
import inspect
import os
import traceback
from typing import Any

from nesssi import describe as describing
from nesssi import loading
from nesssi.modules import Version

_FILES_MAX = 1000
_FILE_BYTES_MAX = 4 * 1024 * 1024
_PROBLEMS_MAX = 200
_TRACEBACK_LINES_MAX = 12
_LINE_CHARACTERS_MAX = 300


def check(name: str, folder: str, version: Version | None = None) -> dict[str, Any]:
    """All that can be told of the service `name` in `folder`."""
    folder = os.path.abspath(folder)
    problems = _unreadable_modules(folder)
    try:
        module = loading.import_service(name, folder, version)
    except loading.Broken as broken:
        found = {"error": str(broken), **_why(broken, folder, problems)}
        return {**found, "problems": problems[:_PROBLEMS_MAX]}
    listed = _where_listed(folder)
    wrong = [
        _problem("error", "__init__.py", listed.get(name), text)
        for name, text in loading.wrong_methods(module)
    ]
    if wrong:
        told = {"error": wrong[0]["text"], "problems": (wrong + problems)[:_PROBLEMS_MAX]}
        return told
    service = loading.Service(module, dict(module.methods_list))
    description = describing.describe(service)
    for method in description["methods"]:
        function = service.methods[method["name"]]
        method["file"], method["line"] = _place(function, folder)
        problems.extend(_of_method(method, function))
    description["problems"] = problems[:_PROBLEMS_MAX]
    return description


def _problem(severity: str, file: str | None, line: int | None, text: str) -> dict[str, Any]:
    return {"severity": severity, "file": file, "line": line, "text": text}


def _why(
    broken: loading.Broken, folder: str, problems: list[dict[str, Any]]
) -> dict[str, list[str]]:
    """Adds why the import failed, first of all, and answers the end of its traceback."""
    wrong = broken.cause
    if wrong is None:
        problems.insert(0, _problem("error", None, None, str(broken)))
        return {}
    file, line = loading.place_of(wrong, folder)
    same = [p for p in problems if (p["file"], p["line"]) == (file, line)]
    for other in same:
        problems.remove(other)
    text = loading.text_of(wrong)
    problems.insert(0, _problem("error", file or "__init__.py", line, f"the import fails: {text}"))
    frames = loading.own_frames(wrong, folder)
    told = traceback.TracebackException(type(wrong), wrong, frames, limit=-_TRACEBACK_LINES_MAX)
    lines = "".join(told.format(chain=False)).replace(folder + os.sep, "").splitlines()
    lines = [line[:_LINE_CHARACTERS_MAX] for line in lines[-_TRACEBACK_LINES_MAX:]]
    return {"traceback": lines}


def _unreadable_modules(folder: str) -> list[dict[str, Any]]:
    """The modules in the folder that are no Python; whether they are ever imported is not known."""
    problems = []
    for path in _modules(folder):
        file = os.path.relpath(path, folder)
        try:
            with open(path, "rb") as opened:
                source = opened.read(_FILE_BYTES_MAX + 1)
            if len(source) <= _FILE_BYTES_MAX:
                compile(source, path, "exec", dont_inherit=True)
        except SyntaxError as wrong:
            text = f"{type(wrong).__name__}: {wrong.msg}"
            problems.append(_problem("warning", file, wrong.lineno, text))
        except (OSError, ValueError, RecursionError, MemoryError) as unreadable:
            text = getattr(unreadable, "strerror", None) or str(unreadable)
            problems.append(_problem("warning", file, None, f"cannot be read: {text}"))
    return problems


def _modules(folder: str) -> list[str]:
    found: list[str] = []
    for above, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        found.extend(os.path.join(above, file) for file in sorted(files) if file.endswith(".py"))
        if len(found) > _FILES_MAX:
            break
    return found[:_FILES_MAX]


def _where_listed(folder: str) -> dict[Any, int]:
    """The lines in `__init__.py` of `methods_list` (under None) and of the names in it."""
    lines: dict[Any, int] = {}
    try:
        with open(os.path.join(folder, "__init__.py"), "rb") as opened:
            tree = ast.parse(opened.read(_FILE_BYTES_MAX))
    except (OSError, ValueError, SyntaxError):
        return lines
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not any(isinstance(one, ast.Name) and one.id == "methods_list" for one in targets):
            continue
        lines[None] = node.lineno
        value = getattr(node, "value", None)
        for key in value.keys if isinstance(value, ast.Dict) else []:
            if isinstance(key, ast.Constant):
                lines[key.value] = key.lineno
    return lines


def _place(function: Any, folder: str) -> tuple[str | None, int | None]:
    """Where a function of the service's own code stands."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    file = getattr(code, "co_filename", "")
    if code is None or not file.startswith(folder + os.sep):
        return None, None
    return os.path.relpath(file, folder), code.co_firstlineno


def _of_method(method: dict[str, Any], function: Any) -> list[dict[str, Any]]:
    name, file, line = method["name"], method["file"], method["line"]
    problems = []
    wrong = _cannot_be_called(function)
    if wrong:
        problems.append(_problem("error", file, line, f"{name} {wrong}"))
    if not method["help"].strip():
        text = f"{name} has no docstring: system.methodHelp has nothing to say of it"
        problems.append(_problem("warning", file, line, text))
    if not method["signature"]:
        text = (
            f"{name} does not say its types, so whatever a caller wrote arrives: annotate args "
            "(args: tuple[int, str]) and the result"
        )
        problems.append(_problem("hint", file, line, text))
    elif max(map(len, method["signature"])) > 1 and "parameters" not in method:
        text = (
            f"{name} does not say what its parameters are called: begin its docstring with a call, "
            f"such as {name}(a, b): ..."
        )
        problems.append(_problem("hint", file, line, text))
    return problems


def _cannot_be_called(function: Any) -> str | None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "is async: a worker calls plain functions"
    try:
        inspect.signature(function).bind(None, "", [])
    except TypeError as wrong:
        return f"cannot be called with (req, method_name, args): {wrong}"
    except ValueError:  # a function of C that does not tell
        return None
    return None
