"""Tests of the worker's mode `check`: what it finds in a service's folder."""

import contextlib
import io
import os
import tempfile
import unittest

from nesssi import checking


class Check(unittest.TestCase):
    number = 0

    def check(self, **files):
        """What is told of a service with these files: `helper="..."` is helper.py."""
        Check.number += 1
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                with open(os.path.join(folder, name + ".py"), "w") as opened:
                    opened.write(text)
            with contextlib.redirect_stderr(io.StringIO()):
                return checking.check(f"checked{Check.number}", folder)

    def problems(self, **files):
        told = self.check(**files)["problems"]
        return [(one["severity"], one["file"], one["line"]) for one in told]

    def test_a_good_one_has_none_and_says_where_its_methods_are(self):
        code = "def add(req, m, args: tuple[int]) -> int:\n    'add(n): n.'\n\nmethods_list = {'add': add}\n"
        told = self.check(__init__=code)
        self.assertEqual(told["problems"], [])
        self.assertEqual((told["methods"][0]["file"], told["methods"][0]["line"]), ("__init__.py", 1))

    def test_an_import_that_fails_is_told_where_it_fails_and_others_that_are_no_python_too(self):
        told = self.check(__init__="\nfrom . import helper\n", helper="x = 1\ny = 1 / 0\n", odd="print 1\n")
        first, second = told["problems"]
        self.assertEqual((first["severity"], first["file"], first["line"]), ("error", "helper.py", 2))
        self.assertIn("ZeroDivisionError", first["text"])
        self.assertEqual((second["severity"], second["file"]), ("warning", "odd.py"))
        self.assertEqual(told["traceback"][-1], "ZeroDivisionError: division by zero")
        self.assertIn('  File "__init__.py", line 2, in <module>', told["traceback"])

    def test_every_wrong_entry_of_methods_list(self):
        code = "methods_list = {\n 'a': 3,\n 'b c': print,\n}\n"
        self.assertEqual(
            self.problems(__init__=code),
            [("error", "__init__.py", 2), ("error", "__init__.py", 3)],
        )
        self.assertEqual(self.problems(__init__="x = 1\n"), [("error", "__init__.py", None)])
        self.assertEqual(self.problems(__init__="\nmethods_list = []\n"), [("error", "__init__.py", 2)])

    def test_methods_that_cannot_be_called_and_that_say_too_little(self):
        code = (
            "async def a(req, m, args: tuple[()]) -> int: 'a(): x'\n"
            "def b(req): 'b(): x'\n"
            "def c(req, m, args: tuple[int]) -> int: 'No names.'\n"
            "def d(req, m, args: tuple[()]) -> int: pass\n"
            "methods_list = {'a': a, 'b': b, 'c': c, 'd': d}\n"
        )
        self.assertEqual(
            self.problems(__init__=code),
            [
                ("error", "__init__.py", 1),
                ("error", "__init__.py", 2),
                ("hint", "__init__.py", 2),
                ("hint", "__init__.py", 3),
                ("warning", "__init__.py", 4),
            ],
        )


if __name__ == "__main__":
    unittest.main()
