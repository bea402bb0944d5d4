"""Raw messages, sealed by the key of their connection.

Whom a message is about is known only once it is parsed, long after it had to be durable, so it
cannot be sealed under a patient's key. The key of its connection keeps it unreadable in files and
backups; a patient's messages are erased by emptying their rows.
"""

from collections.abc import Sequence

from chartgate.model.message import Queued
from chartgate.store.database import Connection, Database, Row
from chartgate.store.vault import CONNECTION_KEY, home

INBOX, QUARANTINE = "inbox", "quarantine"


async def sealed_raws(
    database: Database,
    connection: Connection,
    table: str,
    raws: Sequence[tuple[str, bytes, bytes]],
) -> list[bytes]:
    """Of connection, digest and bytes of each."""
    vault = database.vault
    names = {name for name, _, _ in raws}
    keys = await vault.keys(connection, [(home(name), CONNECTION_KEY) for name in names])
    by_name = {name: keys[home(name), CONNECTION_KEY] for name in names}
    return [
        vault.seal(by_name[name], raw, table, home(name), digest.hex())
        for name, digest, raw in raws
    ]


def opened_raw(database: Database, table: str, row: Row) -> bytes:
    """The bytes as they came, of a row with `connection`, `digest`, `raw`, and `key_id` and
    `wrapped` of its connection's key; empty where they were erased. Raises Damaged."""
    raw: bytes = row["raw"]
    if not raw or row["key_id"] is None or not database.vault.is_sealed_by(raw, row["key_id"]):
        return raw
    place = (table, home(row["connection"]), row["digest"].hex())
    return database.vault.open(raw, row["key_id"], row["wrapped"], *place)


def queued(database: Database, row: Row) -> Queued:
    """A message of the inbox."""
    return Queued(
        id=row["id"],
        connection=row["connection"],
        message_type=row["message_type"],
        raw=opened_raw(database, INBOX, row),
        received_at=row["received_at"],
        application_ack=row["application_ack"],
        lane=row["lane"],
    )
