"""The first process of a host: sets the host up, reaps processes, and ends with its parent.

Runs as PID 1 of the host's namespaces. The first line of stdin is a JSON list of argument vectors,
which are executed in order; then the program prints `ready`. At the end of stdin, for any reason,
it exits, and the kernel ends all other processes on the host.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys


def reap(_number: int, _frame: object) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def main() -> None:
    for argv in json.loads(sys.stdin.readline()):
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    signal.signal(signal.SIGCHLD, reap)
    os.write(1, b"ready\n")
    while os.read(0, 4096):
        pass


if __name__ == "__main__":
    main()
