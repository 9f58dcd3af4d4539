"""The job of burn: burn.py SECONDS PROCESSES burns so many CPU seconds in so many processes."""

import os
import sys
import time


def burn(cpu_seconds, name):
    """Burns CPU and says once a second how much it has burned."""
    told = 0
    while time.process_time() < cpu_seconds:
        sum(range(10000))
        if time.process_time() >= told + 1:
            told += 1
            print(f"process {name}: burned {told} s", flush=True)


seconds, processes = float(sys.argv[1]), int(sys.argv[2])
children = []
for name in range(2, processes + 1):
    child = os.fork()
    if child == 0:
        burn(seconds / processes, name)
        os._exit(0)
    children.append(child)
burn(seconds / processes, 1)
for child in children:
    os.waitpid(child, 0)
print(f"burned {seconds} CPU seconds in {processes} processes", flush=True)
