"""The service API, as services use it inside a worker."""

from __future__ import annotations

import subprocess
import unittest

from fake_container import PYTHON_PATH, TESTDATA, TOKEN, WorkerCase

import gridsession
import nesssi

ID = "deadbeef" * 4
OVER = {"error": {"code": 413, "message": "asked for 9 CPU seconds, the limit of level weak is 1"}}


class Api(WorkerCase):
    def setUp(self) -> None:
        super().setUp()
        self.worker_ = self.serve(
            """
            from gridsession import *
            import pathlib
            kept = []
            def m_do(req, method_name, args): return eval(args[0], globals(), locals())
            """
        )

    def asked(self, code: str, answer: object = ID) -> dict:
        """What the container is asked when a service runs `code`."""
        result = self.worker_.result("m_do", code, answers=({"result": answer},))
        self.assertEqual(result, answer)
        (message,) = self.worker_.asked
        params = message["params"]
        self.assertEqual(params.pop("token"), TOKEN)
        return {message["method"]: params}

    def test_each_function_asks_the_container_in_both_spellings(self) -> None:
        method = "test.m_do"
        job = {"method": method, "seconds": 60, "session": None, "batch": None}
        argv = {"argv": ["/bin/true"]}
        for code, answer, asked in [
            ("{0}(req, 60)|getSystemUser|get_system_user", "alice", {"system_user": {"seconds": 60}}),
            (
                "{0}(req, method_name, 1.5)|getSessionInfo|get_session_info",
                [ID, "/sandboxes/x"],
                {"session_info": {"method": method, "seconds": 1.5}},
            ),
            ("{0}('s')|getSandbox|get_sandbox", "/sandboxes/x", {"sandbox": {"session": "s"}}),
            ("{0}('s')|getStatus|get_status", "state: done", {"status": {"session": "s"}}),
            ("{0}('s')|getStatusValue|get_status_value", {"a": 1}, {"status_value": {"session": "s"}}),
            ("{0}('s')|getSessionUrl|get_session_url", "http://x", {"url": {"session": "s"}}),
            (
                "{0}(req, method_name, ['s'])|jobMonitor|job_monitor",
                "state: done",
                {"monitor": {"session": "s"}},
            ),
            (
                "{0}(req, method_name, [60], ['/bin/true'])|runJob|run_job",
                ID,
                {"run_job": {**job, "command": argv}},
            ),
            (
                "{0}(req, method_name, [60], ['/bin/true'])|runCmd|run_cmd",
                ID,
                {"run_job": {**job, "command": argv, "batch": "local"}},
            ),
            (
                "{0}(req, method_name, [60], ['/bin/true'], batch='slurm')|runJob|run_job",
                ID,
                {"run_job": {**job, "command": argv, "batch": "slurm"}},
            ),
        ]:
            call, *names = code.split("|")
            for name in names:
                with self.subTest(name):
                    self.assertEqual(self.asked(call.format(name), answer), asked)

    def test_forms_of_call_args_and_commands(self) -> None:
        for code, part in [
            ("run_job(req, method_name, [1, 's'], ['a'])", {"session": "s"}),
            ("run_job(req, method_name, (1, None), ['a'])", {"session": None, "seconds": 1}),
            ("run_job(req, method_name, [1, ''], ['a'])", {"session": None}),
            ("run_job(req, method_name, 2.5, ['a'])", {"seconds": 2.5}),
            ("run_job(req, method_name, [20/60 + 1], 'date; x')", {"command": {"shell": "date; x"}}),
            (
                "run_job(req, method_name, [1], ('a b', 1, 2.5, b'c', pathlib.Path('/d'), '', '; e'))",
                {"command": {"argv": ["a b", "1", "2.5", "c", "/d", "", "; e"]}},
            ),
        ]:
            with self.subTest(code):
                asked = self.asked(code)["run_job"]
                self.assertEqual({**asked, **part}, asked)

    def test_a_caller_s_wrong_value_is_a_fault_and_a_developer_s_an_incident(self) -> None:
        for code, expected in [
            ("run_job(req, method_name, ['x'], ['a'])", -32602),
            ("run_job(req, method_name, [True], ['a'])", -32602),
            ("run_job(req, method_name, [float('nan')], ['a'])", -32602),
            ("run_job(req, method_name, [10**400], ['a'])", -32602),
            ("run_job(req, method_name, [1, 7], ['a'])", -32602),
            ("run_job(req, method_name, [1], ['a', None])", -32602),
            ("run_job(req, method_name, [1], ['a', {}])", -32602),
            (r"run_job(req, method_name, [1], ['a\0'])", -32602),
            (r"run_job(req, method_name, [1], ['\udc80'])", -32602),
            (r"run_job(req, method_name, [1], [b'\xff'])", -32602),
            (r"run_job(req, method_name, [1], 'a\0')", -32602),
            ("job_monitor(req, method_name, [])", -32602),
            ("job_monitor(req, method_name, [7])", -32602),
            ("get_status(None)", -32602),
            ("run_job(req, method_name, [1], [])", -32000),
            ("run_job(req, method_name, [], ['a'])", -32000),
            ("run_job(req, method_name, None, ['a'])", -32000),
            ("run_job(req, method_name, [1], None)", -32000),
            ("run_job(req, method_name, [1], ['a'], batch=7)", -32000),
        ]:
            with self.subTest(code):
                self.assertEqual(self.worker_.error("m_do", code)["code"], expected)
                self.assertEqual(self.worker_.asked, [])

    def test_a_fault_of_the_container_is_the_answer(self) -> None:
        error = self.worker_.error("m_do", "run_job(req, method_name, [9], ['a'])", answers=(OVER,))
        self.assertEqual(error, {**OVER["error"], "data": {"kind": "fault"}})

    def test_a_call_that_is_over_can_ask_nothing(self) -> None:
        self.worker_.result("m_do", "kept.append(req)")
        error = self.worker_.error("m_do", "get_system_user(kept[0], 1)")
        self.assertEqual(error["data"]["kind"], "exception")
        self.assertEqual(self.worker_.asked, [])


class Nested(WorkerCase):
    def test_a_fault_can_be_caught(self) -> None:
        worker = self.serve(
            """
            from nesssi import *
            def m_smaller(req, method_name, args):
                try:
                    return runJob(req, method_name, [9], ["a"])
                except Fault as fault:
                    assert isinstance(fault, RuntimeError) and fault.args == (413, fault.text)
                    return [fault.code, fault.faultString, runJob(req, method_name, [1], ["a"])]
            """
        )
        result = worker.result("m_smaller", answers=(OVER, {"result": ID}))
        self.assertEqual(result, [413, OVER["error"]["message"], ID])

    def test_threads_ask_one_at_a_time(self) -> None:
        worker = self.serve(
            """
            import threading
            from nesssi import get_status
            def m_many(req, method_name, args):
                got = {}
                def ask(n):
                    for time in range(20):
                        got[n, time] = get_status(f"{n}.{time}")
                threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
                [t.start() for t in threads], [t.join() for t in threads]
                return [len(got), all(v == f"status of {n}.{t}" for (n, t), v in got.items())]
            """
        )
        number = worker.start_call("m_many")
        while True:
            message = worker.receive()
            if "method" not in message:
                break
            status = f"status of {message['params']['session']}"
            worker.send({"jsonrpc": "2.0", "id": message["id"], "result": status})
        self.assertEqual(message, {"jsonrpc": "2.0", "id": number, "result": [160, True]})

    def test_a_thread_that_outlives_its_call_gets_an_error_and_harms_no_later_call(self) -> None:
        worker = self.serve(
            """
            import threading
            from nesssi import get_system_user
            go, said = threading.Event(), []
            def late(req):
                go.wait()
                try:
                    get_system_user(req, 1)
                except RuntimeError as error:
                    said.append(str(error))
            def m_start(req, method_name, args):
                global thread
                thread = threading.Thread(target=late, args=(req,))
                thread.start()
            def m_look(req, method_name, args):
                go.set(), thread.join()
                return said
            """
        )
        worker.result("m_start")
        said = worker.result("m_look")
        self.assertEqual(len(said), 1)
        self.assertIn("only while its call is going on", said[0])

    def test_tagged_answers_are_understood(self) -> None:
        worker = self.serve(
            """
            from nesssi import get_status_value
            def m_when(req, method_name, args): return repr(get_status_value("x")["as_of"])
            """
        )
        moment = {"as_of": {"$nesssi": "datetime", "iso": "20061122T12:00:00"}}
        result = worker.result("m_when", answers=({"result": moment},))
        self.assertEqual(result, "datetime.datetime(2006, 11, 22, 12, 0)")

    def test_the_container_going_in_a_call_ends_the_worker(self) -> None:
        worker = self.serve(
            """
            from nesssi import get_status
            def m_ask(req, method_name, args):
                try:
                    return get_status("x")
                finally:
                    print("cleaned up")
            """
        )
        worker.start_call("m_ask")
        worker.receive()
        worker.socket.shutdown(2)
        self.assertEqual(worker.wait(), 1)
        self.assertIn("cleaned up", worker.log())


class Samples(WorkerCase):
    def test_the_guide_s_listing_runs(self) -> None:
        worker = self.serve_folder("sleepyServices", TESTDATA / "sleepyServices")
        self.assertEqual(worker.methods, ["sleepyAdd"])
        result = worker.result("sleepyAdd", 0, 3, 5, answers=({"result": ID},))
        self.assertEqual(result, ID)
        params = worker.asked[0]["params"]
        self.assertEqual((params["seconds"], params["session"], params["batch"]), (1.0, None, None))
        done = subprocess.run(params["command"]["shell"], shell=True, capture_output=True, text=True)
        self.assertEqual(" ".join(done.stdout.split()[-6:]), "sleepyadd 3 + 5 = 8")
        worker.result("sleepyAdd", 20, 3, 5, answers=({"result": ID},))
        self.assertAlmostEqual(worker.asked[0]["params"]["seconds"], 20 / 60 + 1)

    def test_our_own_sample_runs(self) -> None:
        worker = self.serve_folder("sleepy", PYTHON_PATH.parent / "services" / "sleepy")
        self.assertEqual(worker.result("sleepyAdd", 0, 3, 5, answers=({"result": ID},)), ID)
        params = worker.asked[0]["params"]
        self.assertEqual(params["seconds"], 1)
        done = subprocess.run(params["command"]["argv"], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.splitlines()[-1], "sleepyadd 3 + 5 = 8")
        self.assertEqual(worker.result("burn", 1, 0.2, 2, answers=({"result": ID},)), ID)
        params = worker.asked[0]["params"]
        self.assertEqual(params["seconds"], 1)
        done = subprocess.run(params["command"]["argv"], capture_output=True, text=True, check=True)
        self.assertIn("burned 0.2 CPU seconds in 2 processes", done.stdout)
        for args in [(), (1, 2), ("1; id", 3, 5), (1, "$(id)", 5), (True, 3, 5), (-1, 3, 5)]:
            self.assertEqual(worker.error("sleepyAdd", *args)["code"], -32602)
        self.assertEqual(worker.result("burn", 30, answers=({"result": ID},)), ID)
        self.assertEqual(worker.asked[0]["params"]["seconds"], 30)
        self.assertEqual(worker.asked[0]["params"]["command"]["argv"][-2:], ["70", "2"])
        for args in [(), ("1",), (1, 1, 1, 1), (1, -1, 1), (1, 1, 0), (1, 1, 99), (1, 1, 1.5), (1, 1e9, 1)]:
            self.assertEqual(worker.error("burn", *args)["code"], -32602)

    def test_our_own_sample_describes_itself(self) -> None:
        worker = self.worker("describe", "sleepy", PYTHON_PATH.parent / "services" / "sleepy")
        methods = {method["name"]: method for method in worker.receive()["methods"]}
        signature = [["string", "double", "double", "double"]]
        self.assertEqual(methods["sleepyAdd"]["signature"], signature)
        self.assertTrue(methods["burn"]["help"].startswith("burn(declared[, seconds"))
        self.assertEqual([len(form) for form in methods["burn"]["signature"]], [2, 3, 4])
        self.assertEqual(methods["sleepyAdd"]["parameters"], ["seconds", "n1", "n2"])
        self.assertEqual(methods["burn"]["parameters"], ["declared", "seconds", "processes"])


class Names(unittest.TestCase):
    def test_both_modules_export_both_spellings(self) -> None:
        for module in (nesssi, gridsession):
            names: dict = {}
            exec(f"from {module.__name__} import *", names)
            for name in ("getSystemUser", "get_system_user", "getSessionInfo", "get_session_info",
                         "getSandbox", "get_sandbox", "getStatus", "get_status", "runCmd", "run_cmd",
                         "runJob", "run_job", "jobMonitor", "job_monitor", "Fault"):
                self.assertIs(names[name], getattr(nesssi, name))
        self.assertIn("client", nesssi.__all__)

    def test_outside_of_a_service_the_api_says_so(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "only inside of a NESSSI service"):
            nesssi.get_status("x")


if __name__ == "__main__":
    unittest.main()
