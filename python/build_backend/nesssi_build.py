"""Builds the wheel with the standard library alone (PEP 517, PEP 660).

Where there is no network there is often no setuptools either, and this package is a handful of files.
What it is called and which it is stands in pyproject.toml.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tarfile
import zipfile

_TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGE = "nesssi"
_MODULES = ("gridsession.py", "ClarensDpe.py", "Clarens.py")
# Wheels are the same, byte for byte, whenever they are made.
_MOMENT = (2006, 11, 22, 0, 0, 0)


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
    """Writes the wheel; its file name."""
    return _wheel(wheel_directory, {name: _read(name) for name in _sources()})


def build_editable(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
    """Writes a wheel that leads to these files here; its file name."""
    return _wheel(wheel_directory, {"nesssi.pth": f"{_TOP}\n".encode()})


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    """Writes the source archive; its file name."""
    stem = f"{_PACKAGE}-{_value('version')}"
    name = f"{stem}.tar.gz"
    backend = os.path.join("build_backend", "nesssi_build.py")
    files = {path: _read(path) for path in [*_sources(), "pyproject.toml", "README.md", backend]}
    files["PKG-INFO"] = _metadata()
    with tarfile.open(os.path.join(sdist_directory, name), "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for path, data in sorted(files.items()):
            info = tarfile.TarInfo(f"{stem}/{path}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return name


def _wheel(directory: str, files: dict[str, bytes]) -> str:
    stem = f"{_PACKAGE}-{_value('version')}"
    info = f"{stem}.dist-info"
    files[f"{info}/METADATA"] = _metadata()
    tags = "Wheel-Version: 1.0\nGenerator: nesssi_build\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/WHEEL"] = tags.encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, _MOMENT)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return name


def _sources() -> list[str]:
    inside = sorted(os.listdir(os.path.join(_TOP, _PACKAGE)))
    package = [f"{_PACKAGE}/{name}" for name in inside if name.endswith(".py") or name == "py.typed"]
    return [*package, *_MODULES]


def _metadata() -> bytes:
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {_value('name')}",
        f"Version: {_value('version')}",
        f"Summary: {_value('description')}",
        f"Requires-Python: {_value('requires-python')}",
        *(f"Classifier: {one}" for one in re.findall(r'^    "(.+ :: .+)",$', _project(), re.M)),
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join([*lines, "", ""]).encode() + _read("README.md")


def _value(key: str) -> str:
    found = re.search(rf'^{key} = "(.*)"$', _project(), re.M)
    if not found:
        raise ValueError(f"pyproject.toml has no {key}")
    return found.group(1)


def _project() -> str:
    return _read("pyproject.toml").decode()


def _read(path: str) -> bytes:
    with open(os.path.join(_TOP, path), "rb") as file:
        return file.read()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
