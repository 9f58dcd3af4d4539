"""NAME: a service that adds two numbers, after a while.

A method takes (req, method_name, args) and returns what the caller gets. To run something that takes
time, it asks for a job and returns the session's id.
"""

from nesssi import Fault, run_job


def add(req, method_name, args):
    """add(seconds, n1, n2) -> session id. Sleeps, adds, and leaves the sum in the sandbox's stdout."""
    try:
        seconds, n1, n2 = (float(arg) for arg in args)
    except (TypeError, ValueError):
        raise Fault(-32602, "add takes three numbers: seconds, n1, n2")
    # CPU seconds that the job may burn: sleeping costs none, so one is plenty.
    cpu_seconds = 1
    # An argument vector: no shell reads it, so nothing in it can become a command.
    code = "import sys, time; time.sleep(float(sys.argv[1])); print(float(sys.argv[2]) + float(sys.argv[3]))"
    return run_job(req, method_name, [cpu_seconds], ["/usr/bin/python3", "-c", code, str(seconds), str(n1), str(n2)])


# What callers may call: name on the wire -> function.
methods_list = {"add": add}
