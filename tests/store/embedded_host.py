"""Run as a script by test_embedded: a process that starts PostgreSQL and waits to be ended.

    python embedded_host.py DATA_DIR [UID]

With a UID it gives root up first, after the imports: another user may not be able to read the
checkout. Prints one JSON line, then stays. It has no handler for any signal, on purpose.
"""

import codecs
import json
import os
import shutil
import sys
import time
from pathlib import Path

from chartgate.errors import ChartgateError
from chartgate.store.embedded import start_embedded


def main(data_dir: str, uid: str = "") -> None:
    """Starts the server in this process."""
    if uid:
        codecs.lookup("ascii")  # Python finds codecs late, in a folder that may now be closed
        os.setgroups([])
        os.setresgid(int(uid), int(uid), int(uid))
        os.setresuid(int(uid), int(uid), int(uid))
        sys.executable = runnable_python()
    try:
        server = start_embedded(Path(data_dir))
    except ChartgateError as error:
        say(error=str(error), kind=type(error).__name__)
        return
    say(url=server.url, pid=server.pid, host=os.getpid())
    time.sleep(600)


def say(**facts: str | int) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def runnable_python() -> str:
    """A Python that this uid can run; the launcher needs nothing but the standard library."""
    if os.access(sys.executable, os.X_OK):
        return sys.executable
    return shutil.which("python3", path="/usr/local/bin:/usr/bin") or sys.executable


if __name__ == "__main__":
    main(*sys.argv[1:])
