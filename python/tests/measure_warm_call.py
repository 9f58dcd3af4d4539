"""How much CPU a warm call costs the worker: `python3 measure_warm_call.py [CALLS]`.

Not a test: it prints microseconds of the worker process's own CPU time for each call.
"""

from __future__ import annotations

import os
import sys
import time

from fake_container import Worker, WorkerCase

CODE = """
from nesssi import get_status
def m_echo(req, method_name, args): return args[0]
def m_ask(req, method_name, args): return get_status("deadbeef" * 4)
"""


def cpu_seconds(pid: int) -> tuple[float, float]:
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


class Measure(WorkerCase):
    def runTest(self) -> None:
        worker = self.serve(CODE)
        calls = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
        text = {"result": "state: running"}
        binary = {"$nesssi": "binary", "base64": "AAEC"}
        structure = {"n": list(range(50)), "s": {"a": "b", "c": 1.5}}
        self.measure(worker, "echo of a short text", calls, "m_echo", "hello")
        self.measure(worker, "echo of a struct of 60 values", calls, "m_echo", structure)
        self.measure(worker, "echo of binary", calls // 5, "m_echo", binary)
        self.measure(worker, "one question to the container", calls // 2, "m_ask", answers=(text,))

    def measure(self, worker: Worker, what: str, calls: int, *call: object, answers=()) -> None:
        for _ in range(100):
            worker.call(*call, answers=answers)
        user, system = cpu_seconds(worker.pid)
        started = time.monotonic()
        for _ in range(calls):
            worker.call(*call, answers=answers)
        wall = time.monotonic() - started
        user, system = (b - a for a, b in zip((user, system), cpu_seconds(worker.pid)))
        micro = 1e6 / calls
        print(
            f"{what}: {(user + system) * micro:.1f} us CPU a call ({user * micro:.1f} user, "
            f"{system * micro:.1f} system), {wall * micro:.0f} us wall with the fake container"
        )


if __name__ == "__main__":
    measure = Measure()
    measure.setUp()
    try:
        measure.runTest()
    finally:
        measure.doCleanups()
