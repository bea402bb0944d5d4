"""What PostgreSQL says when it does not start, as a sentence that says what to do."""

import re
from pathlib import Path

from chartgate.errors import ChartgateError, ConfigError, Unavailable

DAMAGED = (
    r"checkpoint record|control file|PANIC|invalid page|database files are incompatible|"
    r"not a valid data directory|could not read (file|block)|"
    r'could not open (file|directory) "[^"]*": No such file'
)
KNOWN: tuple[tuple[str, type[ChartgateError], str], ...] = (
    (
        r"No space left on device|Disk quota exceeded",
        Unavailable,
        "the disk that holds {where} is full; free some space and start again",
    ),
    (
        r"Read-only file system",
        ConfigError,
        "{where} is on a read-only file system; point data_dir to one that can be written",
    ),
    (
        r"could not look up effective user ID",
        ConfigError,
        "your uid has no account name, which initdb needs; add one, or set [store] database_url",
    ),
    (
        r"pre-existing shared memory block|lock file .* already exists",
        Unavailable,
        "a PostgreSQL still runs on {where}; stop it, or point data_dir elsewhere",
    ),
    (
        r"could not (create|resize|map) .*shared memory|could not create semaphores",
        Unavailable,
        "the system has too little shared memory left for PostgreSQL; free some",
    ),
    (
        DAMAGED,
        ConfigError,
        "the database in {where} is damaged; restore it from a backup (nothing was removed)",
    ),
    (
        r"Permission denied|Operation not permitted",
        ConfigError,
        "PostgreSQL may not use {where}; give the folder back to the account that made it",
    ),
)


def failure_of(said: str, where: Path) -> ChartgateError:
    """The error for what initdb or the server said. The words themselves are for the log."""
    for pattern, kind, sentence in KNOWN:
        if re.search(pattern, said):
            return kind(sentence.format(where=where), operator_detail=said[-2000:])
    lines = [line for line in said.splitlines() if re.search("FATAL|PANIC|ERROR|error:", line)]
    last = lines[-1].strip() if lines else "it said nothing"
    return Unavailable(
        f"PostgreSQL does not start on {where}: {last}", operator_detail=said[-2000:]
    )
