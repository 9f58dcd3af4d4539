"""The package as a whole: it installs, it runs on each Python there is, its examples and types are true."""

from __future__ import annotations

import ast
import doctest
import glob
import importlib
import os
import pathlib
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from fake_container import PYTHON_PATH
from test_client import ClientCase

import nesssi

SOURCES = [*PYTHON_PATH.glob("*.py"), *(PYTHON_PATH / "nesssi").glob("*.py"), *(PYTHON_PATH / "build_backend").glob("*.py")]
OLDEST, NEWEST = (3, 9), (3, 13)


def pythons() -> dict[tuple[int, int], str]:
    """Each Python from 3.9 to 3.13 that this machine has."""
    found: dict[tuple[int, int], str] = {sys.version_info[:2]: sys.executable}
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        names = [shutil.which(f"python3.{minor}") or "", f"/usr/bin/python3.{minor}"]
        roots = [os.environ.get("PYENV_ROOT", ""), os.path.expanduser("~/.pyenv")]
        for root in filter(None, roots):
            names += glob.glob(f"{root}/versions/3.{minor}.*/bin/python3")
        for name in filter(os.path.exists, names):
            said = subprocess.run([name, "-c", "import ssl"], capture_output=True)
            if said.returncode == 0:
                found.setdefault((3, minor), name)
                break
    return found


class Doctests(unittest.TestCase):
    def test_examples_in_the_modules_are_true(self) -> None:
        tried = 0
        for module in pkgutil.iter_modules([str(PYTHON_PATH / "nesssi")]):
            if module.name == "worker_main":
                continue
            result = doctest.testmod(importlib.import_module(f"nesssi.{module.name}"))
            self.assertEqual(result.failed, 0, module.name)
            tried += result.attempted
        self.assertGreater(tried, 25)


class Documentation(ClientCase):
    def test_examples_in_the_page_run(self) -> None:
        """Each block of Python in docs/clients.md, against the fake server, in its order."""
        page = PYTHON_PATH.parent / "docs" / "clients.md"
        if not page.exists():
            self.skipTest("the documents are not beside the package")
        text = page.read_text().split("## Python\n", 1)[1].split("\n## ", 1)[0]
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
        self.assertGreaterEqual(len(blocks), 4)
        self.server.files = {"stdout": b"8\n"}
        self.server.status["state"] = "done"
        program = "\n".join(blocks).replace("https://localhost:8443/clarens/", self.server.url)
        with tempfile.TemporaryDirectory() as place:
            proxy = pathlib.Path(place, "proxy.pem")
            proxy.write_text(pathlib.Path(self.made.path("proxy.pem")).read_text())
            proxy.chmod(0o600)
            variables = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(PYTHON_PATH),
                "NESSSI_CA": self.made.path("ca.pem"),
                "X509_USER_PROXY": str(proxy),
            }
            done = subprocess.run(
                [sys.executable, "-c", program], cwd=place, env=variables, capture_output=True, text=True, timeout=60
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("['hello']", done.stdout)
            self.assertIn("the help of sleepy.sleepyAdd", done.stdout)
            self.assertEqual(pathlib.Path(place, "results", "stdout").read_bytes(), b"8\n")
        self.assertIn("survey-2006-tile-17", self.server.tags)

    def test_every_class_that_the_page_names_is_there(self) -> None:
        page = PYTHON_PATH.parent / "docs" / "clients.md"
        if not page.exists():
            self.skipTest("the documents are not beside the package")
        for name in re.findall(r"`nesssi\.([A-Z]\w+)`", page.read_text()):
            self.assertTrue(hasattr(nesssi, name), name)


class Pythons(unittest.TestCase):
    def test_sources_are_of_the_oldest_python(self) -> None:
        for path in SOURCES:
            with self.subTest(path.name):
                ast.parse(path.read_text(), feature_version=OLDEST)

    def test_each_python_here_runs_it(self) -> None:
        """The other tests too: once, started from here, and not again from there."""
        if os.environ.get("NESSSI_TESTS_OF_ONE_PYTHON"):
            self.skipTest("started by this test")
        for version, python in pythons().items():
            if version == sys.version_info[:2]:
                continue
            names = [path.stem for path in (PYTHON_PATH / "tests").glob("test_*.py") if path.stem != "test_worker"]
            variables = {**os.environ, "NESSSI_TESTS_OF_ONE_PYTHON": "1", "PYTHONDONTWRITEBYTECODE": "1"}
            with self.subTest(version):
                done = subprocess.run(
                    [python, "-m", "unittest", *sorted(names)],
                    cwd=PYTHON_PATH / "tests", env=variables, capture_output=True, text=True, timeout=600,
                )
                self.assertEqual(done.returncode, 0, f"{python}\n{done.stderr}")

    def test_a_worker_imports_nothing_of_the_client(self) -> None:
        code = (
            "import sys, nesssi\nfrom nesssi import *\nfrom gridsession import *\n"
            "print(sorted(set(sys.modules) & {'ssl', 'socket', 'asyncio', 'http', 'nesssi.core', 'nesssi.errors'}))"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=PYTHON_PATH, capture_output=True, text=True)
        self.assertEqual(done.stdout, "[]\n", done.stderr)


class Installed(unittest.TestCase):
    def test_it_installs_without_a_network(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            made = subprocess.run([sys.executable, "-m", "venv", f"{place}/venv"], capture_output=True, text=True)
            if made.returncode != 0:
                self.skipTest(f"this Python makes no venv: {made.stdout[-200:]}")
            python = f"{place}/venv/bin/python"
            # As a clone is: whoever installs need not be able to write there.
            keep = shutil.ignore_patterns("tests", "__pycache__", ".*")
            shutil.copytree(PYTHON_PATH, f"{place}/python", ignore=keep)
            done = subprocess.run(
                [python, "-m", "pip", "install", "--no-index", "--disable-pip-version-check", f"{place}/python"],
                capture_output=True, text=True, timeout=300,
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            code = (
                "import nesssi, nesssi.aio, gridsession, ClarensDpe, Clarens, os\n"
                "from importlib import metadata\n"
                "at = os.path.dirname(nesssi.__file__)\n"
                "print('site-packages' in at, os.path.exists(at + '/py.typed'), metadata.version('nesssi') == nesssi.__version__)"
            )
            done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True)
            self.assertEqual(done.stdout, "True True True\n", done.stderr)

    def test_types_are_what_they_say(self) -> None:
        mypy = os.environ.get("NESSSI_MYPY") or shutil.which("mypy")
        if not mypy:
            self.skipTest("mypy is not here")
        with tempfile.TemporaryDirectory() as cache:
            done = subprocess.run(
                [mypy, "--strict", "--cache-dir", cache, "nesssi", "Clarens.py", "ClarensDpe.py", "gridsession.py"],
                cwd=PYTHON_PATH, capture_output=True, text=True, timeout=600,
            )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
