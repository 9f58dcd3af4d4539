#!/usr/bin/python3 -I
"""Runs nesssid where root has no power over files of one group, as on a file system exported with root squash.

In a user namespace that knows every user and every group but this one, root has no capability over what is of that
group: it may there do what any stranger may. Directories below hand the group on (setgid).
"""

import ctypes
import os
import sys

SQUASHED = 54321
ALL = 2**32 - 2
NEW_USER_NAMESPACE = 0x10000000


def write(name: str, text: str) -> None:
    with open(name, "w", encoding="ascii") as file:
        file.write(text)


def main() -> None:
    ours = os.getpid()
    apart, mapped = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.read(apart[0], 1)
        write(f"/proc/{ours}/uid_map", f"0 0 {ALL}\n")
        above = SQUASHED + 1
        write(f"/proc/{ours}/gid_map", f"0 0 {SQUASHED}\n{above} {above} {ALL - above}\n")
        os.write(mapped[1], b"x")
        os._exit(0)
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_USER_NAMESPACE):
        sys.exit(os.strerror(ctypes.get_errno()))
    os.write(apart[1], b"x")
    if os.read(mapped[0], 1) != b"x":
        sys.exit("no map")
    os.wait()
    for end in apart + mapped:
        os.close(end)
    program = sys.argv[1:] if "/" in "".join(sys.argv[1:2]) else [f"{__file__}-real", *sys.argv[1:]]
    os.execv(program[0], program)


main()
