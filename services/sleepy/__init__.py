"""Jobs that sleep and jobs that burn: a first service to try a server with, and to copy from."""

import os
import sys
from numbers import Real
from typing import Union

from nesssi import Fault, run_job

contact = "the administrator of this server"
version = "1.0"

FOLDER = os.path.dirname(os.path.abspath(__file__))
BURN_SECONDS_MAX = 3600
BURN_PROCESSES_MAX = 8


def sleepy_add(req, method_name, args: tuple[float, float, float]) -> str:
    """sleepyAdd(seconds, n1, n2): sleeps so many seconds, then adds n1 and n2.

    The answer is the session id of the job; its sum is in the file `stdout` of the sandbox.
    Sleeping costs no CPU time; the job asks for the seconds all the same, as work of that length
    would, so that a long one needs a strong credential. Example: sleepyAdd(20, 3, 5)
    """
    seconds, n1, n2 = numbers(args, "seconds, n1, n2")
    if seconds < 0:
        raise Fault(-32602, "seconds must not be negative")
    command = [sys.executable, "-I", os.path.join(FOLDER, "add_slowly.py"), seconds, n1, n2]
    return run_job(req, method_name, [seconds + 1], command)


BurnArgs = Union[tuple[float], tuple[float, float], tuple[float, float, int]]


def burn(req, method_name, args: BurnArgs) -> str:
    """burn(declared[, seconds[, processes]]): burns more CPU than it said, to show the limit.

    The job asks for `declared` CPU seconds and burns `seconds` (without a word: twice as much and
    ten more), shared among so many processes (2). The limit stops it, all of its processes, and its
    status says why. Let it burn less than it declares, and it ends by itself.
    The answer is the session id of the job. Example: burn(5)
    """
    if not 1 <= len(args) <= 3:
        raise Fault(-32602, "1 to 3 numbers are needed: declared, seconds, processes")
    numbers(args, ", ".join(("declared", "seconds", "processes")[: len(args)]))
    declared = args[0]
    seconds = args[1] if len(args) > 1 else min(abs(declared) * 2 + 10, BURN_SECONDS_MAX)
    processes = args[2] if len(args) > 2 else 2
    if not 0 <= seconds <= BURN_SECONDS_MAX:
        raise Fault(-32602, f"seconds must be 0 to {BURN_SECONDS_MAX}")
    if processes not in range(1, BURN_PROCESSES_MAX + 1):
        raise Fault(-32602, f"processes must be 1 to {BURN_PROCESSES_MAX}")
    script = os.path.join(FOLDER, "burn.py")
    command = [sys.executable, "-I", script, seconds, int(processes)]
    return run_job(req, method_name, [declared], command)


def numbers(args, names):
    """The arguments, if there is a number for each name; a caller who errs is told what is asked."""
    count = len(names.split(", "))
    if len(args) != count:
        raise Fault(-32602, f"{count} numbers are needed: {names}")
    for arg in args:
        if isinstance(arg, bool) or not isinstance(arg, Real):
            raise Fault(-32602, f"{count} numbers are needed ({names}), not {type(arg).__name__}")
    return args


methods_list = {"sleepyAdd": sleepy_add, "burn": burn}
