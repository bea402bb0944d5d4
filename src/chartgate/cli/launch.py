"""Run as a script: becomes a command that is bound to the life of its parent.

    python -I -S launch.py PARENT_PID PROGRAM ARGUMENT…

A process of its own, because code between fork and exec in a process with threads may hang. It
imports nothing of Chartgate. A parent that died before the signal was set is only seen by asking
who the parent is.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # Source: prctl(2); sent when the *thread* that started us ends


def main(arguments: list[str]) -> None:
    """Never returns when all is well."""
    parent, program = int(arguments[0]), arguments[1]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
    os.execv(program, arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
