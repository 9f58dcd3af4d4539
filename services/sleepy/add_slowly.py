"""The job of sleepyAdd: add_slowly.py SECONDS N1 N2."""

import sys
import time


def number(text):
    try:
        return int(text)
    except ValueError:
        return float(text)


seconds, n1, n2 = (number(word) for word in sys.argv[1:])
print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "going to sleep", flush=True)
time.sleep(seconds)
print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "awake", flush=True)
print(f"sleepyadd {n1} + {n2} = {n1 + n2}", flush=True)
