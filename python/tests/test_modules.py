"""Tests of versions: a service runs the modules that were there when it was taken up."""

import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = """
import json, os, sys
sys.path.insert(0, %r)
from nesssi import loading, modules
descriptor = os.open(sys.argv[1], os.O_RDONLY)
try:
    version = modules.read(descriptor, sys.argv[2])
    service = loading.load("adder", sys.argv[2], version)
    print(json.dumps(service.methods["f"](None, "", [])))
except (ValueError, loading.Broken) as wrong:
    print(type(wrong).__name__, wrong)
""" % os.path.join(os.path.dirname(__file__), "..")


class Versions(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.folder = os.path.join(self.place.name, "adder")
        os.mkdir(self.folder)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as opened:
            opened.write(text)

    def version(self, files, head=""):
        import json

        path = os.path.join(self.place.name, "version")
        names = [[name, len(text.encode())] for name, text in files.items()]
        with open(path, "w") as opened:
            opened.write(head + json.dumps({"files": names}) + "\n" + "".join(files.values()))
        return path

    def run_it(self, version, folder=None):
        words = [sys.executable, "-I", "-c", PROGRAM, version, folder or self.folder]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        self.stderr = done.stderr
        return done.stdout.strip()

    def test_the_version_runs_whatever_lies_in_the_folder(self):
        version = self.version(
            {
                "__init__.py": "from . import helper\nfrom .sub import deep\nimport os, late\n"
                "def f(req, m, args):\n    import later\n"
                "    return [helper.x, deep.x, late.x, later.x, os.path.basename(__file__)]\n"
                "methods_list = {'f': f}\n",
                "helper.py": "x = 'é'\n",
                "sub/__init__.py": "",
                "sub/deep.py": "x = 2\n",
                "late.py": "x = 3\n",
                "later.py": "x = 4\n",
            },
            head='{"digest": "x"}\n',
        )
        self.write("__init__.py", "def broken(:\n")
        self.write("helper.py", "x = 'other'\n")
        self.write("later.py", "def broken(:\n")
        self.assertEqual(self.run_it(version), '["\\u00e9", 2, 3, 4, "__init__.py"]')
        os.symlink(self.folder, os.path.join(self.place.name, "linked"))
        linked = os.path.join(self.place.name, "linked")
        text = "import os, sys\nsys.path.insert(0, os.path.realpath(os.path.dirname(__file__)))\n"
        text += "import helper\nmethods_list = {'f': lambda *_: helper.x}\n"
        version = self.version({"__init__.py": text, "helper.py": "x = 'mine'\n"})
        self.assertEqual(self.run_it(version, linked), '"mine"')

    def test_data_is_read_where_it_lies_and_new_modules_are_not_found(self):
        text = (
            "import os\n"
            "def f(req, m, args):\n"
            "    data = open(os.path.join(os.path.dirname(__file__), 'data')).read()\n"
            "    try:\n        from . import new\n    except ImportError:\n        return data\n"
            "methods_list = {'f': f}\n"
        )
        version = self.version({"__init__.py": text})
        self.write("data", "of today")
        self.write("new.py", "x = 1\n")
        self.assertEqual(self.run_it(version), '"of today"')

    def test_a_traceback_shows_the_lines_that_run(self):
        version = self.version({"__init__.py": "\nraise ValueError('as it was')\n"})
        self.write("__init__.py", "\n'another line'\n")
        told = self.run_it(version)
        self.assertEqual(told, "Broken ValueError: as it was (__init__.py, line 2)")
        self.assertIn("    raise ValueError('as it was')", self.stderr)
        self.assertNotIn("another line", self.stderr)

    def test_what_is_no_version_is_told(self):
        path = self.version({"__init__.py": "x = 1\n"})
        with open(path, "r+") as opened:
            opened.truncate(os.path.getsize(path) - 1)
        self.assertEqual(self.run_it(path), "ValueError the version of the service ends early")
        with open(path, "w") as opened:
            opened.write("{}\n{}\n")
        self.assertTrue(self.run_it(path).startswith("ValueError"))


if __name__ == "__main__":
    unittest.main()
