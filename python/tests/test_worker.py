"""The service worker, as a process of its own on the other end of a socket."""

from __future__ import annotations

import base64
import re
import time

from fake_container import TOKEN, Gone, WorkerCase

ID = "deadbeef" * 4


class Calls(WorkerCase):
    def test_a_call_gets_its_parameters_and_answers_its_value(self) -> None:
        worker = self.serve(
            """
            def m_all(req, method_name, args):
                return [method_name, args, req.clarens_dn, req.account, req.level, req.cpu_limit,
                        req.protocol, req.request_id]
            """
        )
        self.assertEqual(worker.methods, ["m_all"])
        expected = ["test.m_all", [1, 2.5, "é\n", None, True, {"a": []}], "/O=Test Grid/CN=Alice"]
        expected += ["alice", "strong", 216000, "xmlrpc", "r-1"]
        self.assertEqual(worker.result("m_all", 1, 2.5, "é\n", None, True, {"a": []}), expected)
        self.assertEqual(worker.result("m_all")[1], [])

    def test_an_unknown_method_is_a_fault(self) -> None:
        worker = self.serve("def m_a(req, method_name, args): return 1\n")
        self.assertEqual(worker.error("nobody")["code"], -32601)
        self.assertEqual(worker.result("m_a"), 1)

    def test_large_values_go_through_whole(self) -> None:
        worker = self.serve("def m_echo(req, method_name, args): return args\n")
        text = "é" * 3_000_000
        self.assertEqual(worker.result("m_echo", text), [text])

    def test_an_answer_over_the_limit_is_a_fault(self) -> None:
        worker = self.serve("def m_big(req, method_name, args): return 'x' * args[0]\n")
        limit = 16 * 1024 * 1024
        self.assertEqual(worker.error("m_big", limit)["code"], 413)
        self.assertEqual(len(worker.result("m_big", limit - 1000)), limit - 1000)

    def test_two_messages_in_one_write_and_one_in_two(self) -> None:
        worker = self.serve("def m_a(req, method_name, args): return args\n")
        params = {"token": TOKEN, "method": "test.m_a", "name": "m_a", "args": [1], "req": {}}
        params["req"] = dict(clarens_dn="", account="a", level="weak", cpu_limit=1, protocol="x")
        params["req"]["request_id"] = "r"
        import json

        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "call", "params": params}).encode()
        worker.send_raw(line + b"\n" + line.replace(b'"id": 1', b'"id": 2') + b"\n" + line[:20])
        self.assertEqual([worker.receive()["id"], worker.receive()["id"]], [1, 2])
        worker.send_raw(line[20:] + b"\n")
        self.assertEqual(worker.receive()["result"], [1])

    def test_shutdown_and_the_container_going_end_it_well(self) -> None:
        code = """
            import atexit
            atexit.register(print, "goodbye")
            def m_a(req, method_name, args): return 1
            """
        told, left = self.serve(code), self.serve(code)
        told.send({"jsonrpc": "2.0", "method": "shutdown"})
        left.socket.shutdown(2)
        for worker in (told, left):
            self.assertEqual(worker.wait(), 0)
            self.assertEqual(worker.log(), "goodbye\n")

    def test_a_shutdown_during_a_call_waits_for_its_end(self) -> None:
        worker = self.serve(
            """
            from nesssi import get_status
            def m_ask(req, method_name, args): return get_status("x")
            """
        )
        number = worker.start_call("m_ask")
        asked = worker.receive()
        worker.send({"jsonrpc": "2.0", "method": "shutdown"})
        worker.send({"jsonrpc": "2.0", "id": asked["id"], "result": "done"})
        self.assertEqual(worker.receive(), {"jsonrpc": "2.0", "id": number, "result": "done"})
        self.assertEqual(worker.wait(), 0)

    def test_what_is_no_message_ends_it(self) -> None:
        worker = self.serve("def m_a(req, method_name, args): return 1\n")
        worker.send_raw(b"nonsense\n")
        self.assertEqual(worker.wait(), 1)
        self.assertIn("no message", worker.log())


class Values(WorkerCase):
    def setUp(self) -> None:
        super().setUp()
        self.echo = self.serve(
            """
            import datetime, decimal, xmlrpc.client, os
            def m_echo(req, method_name, args): return args[0]
            def m_type(req, method_name, args): return repr(args[0])
            def m_eval(req, method_name, args): return eval(args[0])
            """
        )

    def test_tagged_values_go_in_and_out(self) -> None:
        binary = {"$nesssi": "binary", "base64": base64.b64encode(b"\0\xff\n").decode()}
        moment = {"$nesssi": "datetime", "iso": "20061122T12:00:00"}
        struct = {"$nesssi": "struct", "members": {"$nesssi": "binary", "b": binary}}
        for value, seen in [
            (binary, r"b'\x00\xff\n'"),
            (moment, "datetime.datetime(2006, 11, 22, 12, 0)"),
            (struct, r"{'$nesssi': 'binary', 'b': b'\x00\xff\n'}"),
            ([{"x": [binary]}], r"[{'x': [b'\x00\xff\n']}]"),
            ("a text with $nesssi in it", "'a text with $nesssi in it'"),
        ]:
            with self.subTest(seen):
                self.assertEqual(self.echo.result("m_type", value), seen)
                self.assertEqual(self.echo.result("m_echo", value), value)

    def test_a_leap_second_is_taken_and_a_wrong_tag_is_a_fault(self) -> None:
        leap = {"$nesssi": "datetime", "iso": "20061231T23:59:60"}
        self.assertIn("59, 59)", self.echo.result("m_type", leap))
        for wrong in [
            {"$nesssi": "datetime", "iso": "20060231T00:00:00"},
            {"$nesssi": "binary"},
            {"$nesssi": "binary", "base64": 7},
            {"$nesssi": "struct", "members": []},
            {"$nesssi": "spell"},
            {"$nesssi": None},
        ]:
            with self.subTest(wrong):
                self.assertEqual(self.echo.error("m_echo", wrong)["code"], -32602)

    def test_an_escaped_tag_is_a_tag(self) -> None:
        worker = self.echo
        worker.calls += 1
        line = (
            b'{"jsonrpc":"2.0","id":1,"method":"call","params":{"token":"t","method":"m","name":'
            b'"m_type","args":[{"\\u0024nesssi":"binary","base64":"AA=="}],"req":{"clarens_dn":"",'
            b'"account":"","level":"","cpu_limit":1,"protocol":"","request_id":""}}}\n'
        )
        worker.send_raw(line)
        self.assertEqual(worker.receive()["result"], r"b'\x00'")

    def test_python_values_that_json_has_not(self) -> None:
        day = {"$nesssi": "datetime", "iso": "20061122T00:00:00"}
        zone = "datetime.timezone(datetime.timedelta(hours=2))"
        for code, answer in [
            ("(1, (2,))", [1, [2]]),
            ("None", None),
            ("bytearray(b'A')", {"$nesssi": "binary", "base64": "QQ=="}),
            ("memoryview(b'A')", {"$nesssi": "binary", "base64": "QQ=="}),
            ("xmlrpc.client.Binary(b'A')", {"$nesssi": "binary", "base64": "QQ=="}),
            ("xmlrpc.client.DateTime('20061122T00:00:00')", day),
            ("datetime.date(2006, 11, 22)", day),
            (f"datetime.datetime(2006, 11, 22, 2, 0, 0, 99, {zone})", day),
            ("{1: 'a'}", {"1": "a"}),
            ("2**63 - 1", 2**63 - 1),
            ("[-2**63, 0.00012345678901234567]", [-(2**63), 0.00012345678901234567]),
            ("os.fsdecode(b'caf\\xe9')", "caf?"),
        ]:
            with self.subTest(code):
                self.assertEqual(self.echo.result("m_eval", code), answer)

    def test_what_cannot_be_sent_is_an_incident(self) -> None:
        for code in ["2**63", "-2**63 - 1", "[float('nan')]", "float('inf')", "{1, 2}", "object()",
                     "decimal.Decimal(1)", "{(1, 2): 3}", "(lambda l: l.append(l) or l)([])"]:
            with self.subTest(code):
                self.assertEqual(self.echo.error("m_eval", code)["data"]["kind"], "exception")
        self.assertEqual(self.echo.result("m_echo", "well"), "well")


class Failures(WorkerCase):
    def test_faults_are_answered_with_their_code_and_text(self) -> None:
        worker = self.serve(
            """
            from nesssi import Fault
            def m_fault(req, method_name, args): raise Fault(413, "too much")
            def m_old(req, method_name, args): raise RuntimeError(17, "the original's way")
            """
        )
        fault = {"code": 413, "message": "too much", "data": {"kind": "fault"}}
        self.assertEqual(worker.error("m_fault"), fault)
        old = {"code": 17, "message": "the original's way", "data": {"kind": "fault"}}
        self.assertEqual(worker.error("m_old"), old)
        self.assertEqual(worker.log(), "")

    def test_an_exception_is_an_incident_and_its_story_is_in_the_log_alone(self) -> None:
        worker = self.serve(
            """
            class Odd(BaseException): pass
            class Unprintable(Exception):
                def __str__(self): raise ValueError
            def m_raise(req, method_name, args): raise eval(args[0])
            def m_deep(req, method_name, args): return m_deep(req, method_name, args)
            """
        )
        for code in ["KeyError('/secret/path')", "RuntimeError('no code')", "Unprintable()",
                     "RuntimeError(True, 'no code')", "RuntimeError('1', 'x')", "Odd('out')",
                     "RuntimeError(2**40, 'x')", "GeneratorExit()", "MemoryError()"]:
            with self.subTest(code):
                error = worker.error("m_raise", code)
                self.assertEqual(error["code"], -32000)
                incident = error["data"]["incident"]
                self.assertTrue(re.fullmatch("[0-9a-f]{8}", incident))
                self.assertEqual(error["message"], f"incident {incident}")
                self.assertIn(f"incident {incident} (method test.m_raise, request r-1)", worker.log())
        self.assertEqual(worker.error("m_deep")["data"]["kind"], "exception")
        self.assertIn("in m_raise\n", worker.log())
        self.assertIn("KeyError: '/secret/path'", worker.log())
        self.assertNotIn("answer.py", worker.log())

    def test_prints_go_to_the_log_and_never_into_an_answer(self) -> None:
        worker = self.serve(
            r"""
            import os, subprocess, sys
            print("while loading")
            def m_print(req, method_name, args):
                print('{"jsonrpc":"2.0","id":1,"result":"forged"}')
                os.write(1, b"raw\n")
                sys.stderr.write("error\n")
                print("odd \udc80")
                os.system("echo from a shell")
                subprocess.run(["echo", "from a child"])
                print("no newline", end="")
                return "real"
            def m_close(req, method_name, args):
                sys.stdout.close()
                return "closed"
            """
        )
        self.assertEqual(worker.result("m_print"), "real")
        for text in ["while loading", "forged", "raw", "error", "odd \\udc80", "from a shell",
                     "from a child", "no newline"]:
            self.assertIn(text, worker.log())
        self.assertEqual(worker.result("m_close"), "closed")
        self.assertEqual(worker.result("m_close"), "closed")

    def test_what_ends_the_process_ends_the_worker_without_an_answer(self) -> None:
        code = """
            import os, sys, signal
            def m_exit(req, method_name, args): sys.exit(3)
            def m_os_exit(req, method_name, args): os._exit(4)
            def m_kill(req, method_name, args): os.kill(os.getpid(), signal.SIGKILL)
            """
        for method, exit_code in [("m_exit", 3), ("m_os_exit", 4), ("m_kill", -9)]:
            with self.subTest(method):
                worker = self.serve(code)
                worker.start_call(method)
                with self.assertRaises(Gone):
                    worker.receive()
                self.assertEqual(worker.wait(), exit_code)
                if method == "m_exit":
                    self.assertIn("ends its worker: SystemExit 3", worker.log())

    def test_children_do_not_hold_the_socket(self) -> None:
        worker = self.serve(
            """
            import os, subprocess, time
            def m_look(req, method_name, args):
                look = "ls -l /proc/self/fd | grep -c socket; true"
                return subprocess.run(look, shell=True, capture_output=True, close_fds=False).stdout
            def m_leave(req, method_name, args):
                if os.fork() == 0:
                    time.sleep(30)
                subprocess.Popen(["sleep", "30"], close_fds=False)
                os._exit(0)
            """
        )
        self.assertEqual(worker.result("m_look")["base64"], base64.b64encode(b"0\n").decode())
        started = time.monotonic()
        worker.start_call("m_leave")
        with self.assertRaises(Gone):
            worker.receive()
        self.assertLess(time.monotonic() - started, 8)

    def test_a_forked_child_never_answers(self) -> None:
        worker = self.serve(
            """
            import os, sys
            from nesssi import get_status
            def m_return(req, method_name, args):
                child = os.fork()
                if child:
                    os.waitpid(child, 0)
                return "parent" if child else "child"
            def m_raise(req, method_name, args):
                child = os.fork()
                if child == 0:
                    raise ValueError("in the child")
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            def m_exit(req, method_name, args):
                child = os.fork()
                if child == 0:
                    sys.exit(7)
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            def m_ask(req, method_name, args):
                child = os.fork()
                if child == 0:
                    try:
                        get_status("x")
                    except RuntimeError:
                        os._exit(9)
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            """
        )
        self.assertEqual(worker.result("m_return"), "parent")
        self.assertEqual(worker.result("m_raise"), 0)
        self.assertEqual(worker.result("m_exit"), 7)
        self.assertEqual(worker.result("m_ask"), 9)
        self.assertEqual(worker.result("m_return"), "parent")
        self.assertNotIn("ends its worker", worker.log())

    def test_a_thread_that_stays_does_not_hold_the_worker_for_ever(self) -> None:
        worker = self.serve(
            """
            import threading, time
            def m_start(req, method_name, args):
                threading.Thread(target=time.sleep, args=(60,)).start()
            """
        )
        self.assertIsNone(worker.result("m_start"))
        worker.send({"jsonrpc": "2.0", "method": "shutdown"})
        self.assertEqual(worker.wait(), -14)

    def test_without_its_socket_it_says_so(self) -> None:
        import subprocess
        import sys

        from fake_container import WORKER

        for words, told in [(["serve", "a", "/"], "descriptor 3"), (["serve"], "usage")]:
            run = [sys.executable, "-I", str(WORKER), *words]
            ended = subprocess.run(run, capture_output=True, text=True)
            self.assertEqual(ended.returncode, 64)
            self.assertIn(told, ended.stderr)


class Loading(WorkerCase):
    def test_relative_imports_and_siblings(self) -> None:
        self.write("apple/xray/common.py", "VALUE = 'common'\n")
        self.write("apple/__init__.py", "raise RuntimeError('not run for a service below')\n")
        folder = self.write(
            "apple/xray/juliet/__init__.py",
            """
            import json
            from . import helper
            from .deep.er import NAME
            from ..common import VALUE
            import sibling
            def init(req, method_name, args):
                return [helper.WORD, NAME, VALUE, sibling.NAME, json.dumps(1), __name__]
            methods_list = {"init": init}
            """,
        )
        self.write("apple/xray/juliet/helper.py", "WORD = 'helper'\n")
        self.write("apple/xray/juliet/sibling.py", "NAME = 'sibling'\n")
        self.write("apple/xray/juliet/json.py", "raise ImportError('hides a module of Python')\n")
        self.write("apple/xray/juliet/deep/__init__.py", "")
        self.write("apple/xray/juliet/deep/er.py", "from ..helper import WORD as NAME\n")
        expected = ["helper", "helper", "common", "sibling", "1", "nesssi_services.apple.xray.juliet"]
        worker = self.serve_folder("apple.xray.juliet", folder)
        self.assertEqual(worker.result("init"), expected)
        self.assertFalse(list(self.folder.rglob("__pycache__")))

    def test_a_symbolic_link_and_a_name_of_python(self) -> None:
        self.write("home/code/__init__.py", "methods_list = {'m': lambda r, m, a: __file__}\n")
        link = self.folder / "json"
        link.symlink_to(self.folder / "home" / "code")
        worker = self.serve_folder("json", link)
        self.assertEqual(worker.result("m"), str(link / "__init__.py"))

    def test_broken_services_say_why(self) -> None:
        for code, reason in [
            ("x = 1\ndef f(:\n", r"SyntaxError: .*\(__init__.py, line 2\)"),
            ("\nimport no_such_module\n", r"ModuleNotFoundError: .*'no_such_module' .*line 2\)"),
            ("1/0", r"ZeroDivisionError: division by zero \(__init__.py, line 1\)"),
            ("open('/no/such/place')", r"FileNotFoundError: No such file or directory \(__init"),
            ("raise ValueError('see /etc/secret/x')", r"ValueError: see x \(__init__.py, line 1\)"),
            ("import sys; sys.exit(3)", r"SystemExit: the module exits .* with 3 \(__init__.py"),
            ("from . import other", r"NameError: name 'nope' is not defined \(other.py, line 3\)"),
            ("", "methods_list is missing"),
            ("methods_list = []", "methods_list is a list, not a dict"),
            ("methods_list = {}", "methods_list is empty"),
            ("methods_list = {'a b': print}", "methods_list: 'a b' is not the name"),
            ("methods_list = {1: print}", "methods_list: 1 is not the name"),
            ("methods_list = {'a': 7}", "methods_list: 'a' is a int, not a function"),
            ("from nesssi import get_status; get_status('x')", "RuntimeError: the service API can"),
            (None, "there is no __init__.py"),
        ]:
            with self.subTest(code):
                folder = self.write("bad/__init__.py", code or "")
                self.write("bad/other.py", "\n\nnope\n")
                if code is None:
                    (folder / "__init__.py").unlink()
                served = self.worker("serve", "bad", folder)
                broken = served.receive()
                self.assertEqual(broken["method"], "broken")
                self.assertRegex(broken["params"]["error"], "^" + reason)
                self.assertNotIn(str(self.folder), broken["params"]["error"])
                self.assertEqual(served.wait(), 1)

    def test_describe_tells_methods_types_and_help(self) -> None:
        folder = self.write(
            "told/__init__.py",
            '''
            """Told: what it is for.

            More of it."""
            from datetime import datetime
            from typing import Any, Dict, List, Optional, Tuple, Union
            contact = "alice@example.org"
            batch = "slurm"
            major_version, minor_version = 2, 5
            print("hello from the import")
            def add(req, method_name, args: Tuple[int, float, bool]) -> str:
                """Adds.

                Two:
                    indented."""
            def many(req, method_name, args: Union[Tuple[int], Tuple[bytes, datetime]]) -> list: ...
            def nested(req, method_name, args: "tuple[List[int], Dict[str, int]]") -> None: ...
            def none(req, method_name, args: tuple[()]) -> dict: ...
            def maybe(req, method_name, args: Tuple[int]) -> Optional[str]: ...
            def loose(req, method_name, args: list) -> str: ...
            def endless(req, method_name, args: Tuple[int, ...]) -> str: ...
            def any_(req, method_name, args: Tuple[Any]) -> str: ...
            def bare(req, method_name, args): ...
            def wrong(req, method_name, args: "no such name") -> str: ...
            functions = [add, many, nested, none, maybe, loose, endless, any_, bare, wrong]
            methods_list = {f.__name__: f for f in functions}
            methods_list["len"] = len
            ''',
        )
        worker = self.worker("describe", "told", folder)
        told = worker.receive()
        self.assertEqual(worker.wait(), 0)
        self.assertEqual(worker.reader.read(), b"")
        self.assertEqual(worker.log(), "hello from the import\n")
        self.assertEqual(told["contact"], "alice@example.org")
        self.assertEqual(told["purpose"], "Told: what it is for.")
        self.assertEqual(told["version"], "2.5")
        self.assertEqual(told["batch"], "slurm")
        methods = {method["name"]: method for method in told["methods"]}
        self.assertEqual(methods["add"]["help"], "Adds.\n\nTwo:\n    indented.")
        self.assertEqual(methods["bare"]["help"], "")
        signatures = {name: method["signature"] for name, method in methods.items()}
        many = [["array", "int"], ["array", "base64", "dateTime.iso8601"]]
        self.assertEqual(signatures.pop("add"), [["string", "int", "double", "boolean"]])
        self.assertEqual(signatures.pop("many"), many)
        self.assertEqual(signatures.pop("nested"), [["nil", "array", "struct"]])
        self.assertEqual(signatures.pop("none"), [["struct"]])
        self.assertEqual(signatures.pop("maybe"), [["string", "int"], ["nil", "int"]])
        self.assertEqual(set(map(str, signatures.values())), {"[]"})

    def test_describe_tells_what_parameters_are_called(self) -> None:
        folder = self.write(
            "called/__init__.py",
            '''
            def add(req, method_name, args: tuple[int, int]):
                "add(n1, n2): adds."
            def typed(req, method_name, args):
                "exposed(a: int, b=3[, c]): by the name that callers use."
            def forms(req, method_name, args):
                "forms() or forms(a) or forms(a, b): the longest, not other(a, b, c)."
            def later(req, method_name, args):
                """Says first what it does.

                later(a, b): and then how."""
            def none(req, method_name, args):
                "none(): takes nothing."
            def twice(req, method_name, args):
                "twice(a, a)"
            def odd(req, method_name, args):
                "odd(a b, *c, 3d)"
            def less(req, method_name, args: tuple[int, int]) -> int:
                "less(n1): its annotations say two."
            functions = [add, forms, later, none, twice, odd, less]
            methods_list = {f.__name__: f for f in functions}
            methods_list["exposed"] = typed
            ''',
        )
        told = self.worker("describe", "called", folder).receive()
        called = {m["name"]: m["parameters"] for m in told["methods"] if "parameters" in m}
        expected = {"add": ["n1", "n2"], "exposed": ["a", "b", "c"], "forms": ["a", "b"]}
        self.assertEqual(called, expected)

    def test_describe_of_a_broken_service_is_its_error(self) -> None:
        folder = self.write("bad/__init__.py", "import os\nos.nothing\n")
        worker = self.worker("describe", "bad", folder)
        error = worker.receive()["error"]
        self.assertRegex(error, r"^AttributeError: .* \(__init__.py, line 2\)$")
        self.assertIn("Traceback", worker.log())
