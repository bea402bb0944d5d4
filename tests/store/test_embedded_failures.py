"""What PostgreSQL says becomes a sentence that says what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chartgate.errors import ChartgateError, ConfigError, Unavailable
from chartgate.store.embedded import start_embedded
from chartgate.store.embedded_failures import failure_of

WHERE = Path("var/postgres")


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        (
            'FATAL:  could not write to file "pg_wal/x": No space left on device',
            Unavailable,
            "the disk that holds var/postgres is full; free some space",
        ),
        ("initdb: error: Read-only file system", ConfigError, "read-only file system"),
        (
            "initdb: could not look up effective user ID 7777: user does not exist",
            ConfigError,
            "your uid has no account name",
        ),
        (
            "FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use",
            Unavailable,
            "a PostgreSQL still runs on var/postgres",
        ),
        (
            'FATAL:  lock file "postmaster.pid" already exists',
            Unavailable,
            "a PostgreSQL still runs on var/postgres",
        ),
        (
            "FATAL:  could not resize shared memory segment: No such thing",
            Unavailable,
            "too little shared memory",
        ),
        ("PANIC:  could not locate a valid checkpoint record", ConfigError, "is damaged"),
        (
            'FATAL:  could not open file "global/pg_filenode.map": No such file or directory',
            ConfigError,
            "is damaged",
        ),
        (
            'FATAL:  data directory "x" has invalid permissions\nPermission denied',
            ConfigError,
            "give the folder back",
        ),
        (
            'FATAL:  unrecognized configuration parameter "x"',
            Unavailable,
            "PostgreSQL does not start on var/postgres: FATAL:  unrecognized configuration param",
        ),
        ("", Unavailable, "it said nothing"),
    ],
)
def test_what_it_said_becomes_a_sentence(
    said: str, kind: type[ChartgateError], sentence: str
) -> None:
    failure = failure_of(said, WHERE)
    assert type(failure) is kind
    assert sentence in str(failure)
    assert failure.operator_detail == said


def test_a_full_disk_is_named_and_leaves_no_half_database(
    mount_disk: Callable[[int], Path],
) -> None:
    small_disk = mount_disk(8)  # an empty cluster takes 40
    with pytest.raises(Unavailable, match=f"the disk that holds {small_disk}.* is full"):
        start_embedded(small_disk / "data")
    place = small_disk / "data" / "postgres"
    assert not (place / "cluster").exists()
    assert list(place.glob("new-*")) == []
