"""Jobs that sleep and jobs that burn: a first service to try a server with, and to copy from."""

import os
import sys
from numbers import Real

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
    would, so that a long one needs a strong credential.
    """
    seconds, n1, n2 = numbers(args, "seconds, n1, n2")
    if seconds < 0:
        raise Fault(-32602, "seconds must not be negative")
    command = [sys.executable, "-I", os.path.join(FOLDER, "add_slowly.py"), seconds, n1, n2]
    return run_job(req, method_name, [seconds + 1], command)


def burn(req, method_name, args: tuple[float, float, int]) -> str:
    """burn(declared, seconds, processes): burns CPU in a job that says beforehand how much.

    It asks for `declared` CPU seconds and burns `seconds`, shared among so many processes. Declare
    less than it burns, and the limit stops it: all of its processes, with the reason in its status.
    The answer is the session id of the job.
    """
    declared, seconds, processes = numbers(args, "declared, seconds, processes")
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
