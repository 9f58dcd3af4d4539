"""A service's version is the text of its modules as they were when the service was last taken up.

The container hands it to the worker as an open file, so that every worker of a service runs the same code
whatever lies in the folder by then: half of an edit, or a newer version that does not load. Modules are
found in it under the names that they had in the folder (`__file__`, tracebacks), and in it alone; data
files, programs and compiled modules are read where they lie.

The file: one line of JSON whose `files` are pairs of a name and a number of bytes, after it those bytes one
file behind the other. Lines of JSON without `files` may stand before it.
"""

from __future__ import annotations

import json
import linecache
import os
import sys
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import decode_source, spec_from_file_location
from typing import Any, Sequence

_HEAD_BYTES_MAX = 1024 * 1024
_HEAD_LINES_MAX = 2
_INIT = "__init__.py"


class Version:
    """The modules of one service in `folder`, by their names from the folder on."""

    def __init__(self, folder: str, files: dict[str, bytes]) -> None:
        self.folder = os.path.abspath(folder)
        self.files = files
        # A service may put its folder on sys.path by either name.
        self._places = {self.folder, os.path.realpath(self.folder)}

    def install(self) -> None:
        """From now on the modules of the folder are found in this version."""
        sys.path_hooks.insert(0, self._finder)
        sys.path_importer_cache.clear()

    def loader(self, full_name: str, path: str) -> _Loader:
        """The loader of the module that lies at `path`."""
        return _Loader(full_name, path, self)

    def name_of(self, path: str) -> str | None:
        """The name in this version of what lies at `path`; None outside of the folder."""
        path = os.path.normpath(path)
        for place in self._places:
            if path == place:
                return ""
            if path.startswith(place + os.sep):
                return path[len(place) + 1 :]
        return None

    def _finder(self, path: str) -> _Finder:
        name = self.name_of(path) if isinstance(path, str) else None
        if name is None:
            raise ImportError("not in the service's folder")
        return _Finder(self, path, name)


class _Loader(SourceFileLoader):
    """Takes a module's text from the version, and anything else from the disk."""

    def __init__(self, full_name: str, path: str, version: Version) -> None:
        super().__init__(full_name, path)
        self._version = version

    def path_stats(self, path: str) -> Any:
        raise OSError("a version has no compiled modules")

    def get_data(self, path: str) -> bytes:
        name = self._version.name_of(path)
        text = None if name is None else self._version.files.get(name)
        if text is None:
            return super().get_data(path)
        # Tracebacks show the lines that run, not those that lie there.
        lines = decode_source(text).splitlines(True)
        linecache.cache[path] = (len(text), None, lines, path)
        return text


class _Finder:
    """Finds the modules of one folder of a version."""

    def __init__(self, version: Version, path: str, name: str) -> None:
        self._version, self._path = version, path
        self._before = name + os.sep if name else ""
        self._compiled = FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES))

    def find_spec(self, full_name: str, target: Any = None) -> ModuleSpec | None:
        tail = full_name.rpartition(".")[2]
        package, module = os.path.join(tail, _INIT), tail + ".py"
        if self._before + package in self._version.files:
            inside = [os.path.join(self._path, tail)]
            return self._spec(full_name, package, inside)
        compiled = self._compiled.find_spec(full_name)
        if compiled is not None and compiled.loader is not None:
            return compiled
        if self._before + module in self._version.files:
            return self._spec(full_name, module, None)
        return compiled

    def invalidate_caches(self) -> None:
        self._compiled.invalidate_caches()

    def _spec(self, full_name: str, file: str, inside: Sequence[str] | None) -> ModuleSpec | None:
        path = os.path.join(self._path, file)
        loader = self._version.loader(full_name, path)
        places = None if inside is None else list(inside)
        return spec_from_file_location(
            full_name, path, loader=loader, submodule_search_locations=places
        )


def read(descriptor: int, folder: str) -> Version:
    """The version that the container left open as `descriptor`, which is closed; ValueError if it is none."""
    try:
        head, offset = _head(descriptor)
        files = {}
        for name, length in head:
            data = b""
            while len(data) < length:
                part = os.pread(descriptor, length - len(data), offset + len(data))
                if not part:
                    raise ValueError("the version of the service ends early")
                data += part
            files[name] = data
            offset += length
    finally:
        os.close(descriptor)
    return Version(folder, files)


def _head(descriptor: int) -> tuple[list[tuple[str, int]], int]:
    """The names and lengths, and where the first file begins."""
    start = os.pread(descriptor, _HEAD_BYTES_MAX, 0)
    offset = 0
    for _ in range(_HEAD_LINES_MAX):
        end = start.find(b"\n", offset)
        if end < 0:
            break
        line = json.loads(start[offset:end])
        offset = end + 1
        if "files" in line:
            return [(name, length) for name, length in line["files"]], offset
    raise ValueError("the version of the service has no list of files")
