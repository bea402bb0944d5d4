"""Run as a script: becomes PostgreSQL under another uid, bound to the life of its parent.

    python -I -S embedded_launch.py PARENT_PID UID GID PROGRAM ARGUMENT…

A process of its own, because code between fork and exec in a process with threads may hang.
It imports nothing of Chartgate. The order matters: the kernel forgets the death signal when
the uid changes, so that comes first; and a parent that died before the signal was set is only
seen by asking who the parent is.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # Source: prctl(2); sent when the *thread* that started us ends


def main(arguments: list[str]) -> None:
    """Never returns when all is well."""
    parent, uid, gid, program = int(arguments[0]), int(arguments[1]), int(arguments[2]), 3
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    os.umask(0o077)
    if sys.platform == "linux":
        # SIGINT is PostgreSQL's fast shutdown: work in hand is rolled back, the files are closed.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:
        sys.exit("the process that started PostgreSQL is gone")
    os.execv(arguments[program], arguments[program:])


if __name__ == "__main__":
    main(sys.argv[1:])
