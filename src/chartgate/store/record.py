"""The record: each version of each resource that Chartgate has seen, kept once.

It is a cache of what systems of record said (reads) and what their messages told us (events),
so it changes by `bookkeeping`, or inside the transaction of the event that brought it.

Bodies are sealed under the key of the patient whom they are about; those of types that tell of no
patient (a Slot, a Schedule) are plain. What was erased is as if it had never been kept.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from orjson import loads

from chartgate.errors import Damaged, Erased
from chartgate.formats.compartment import owner_of
from chartgate.model.resource import UNTOLD, Copy, split_reference
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries
from chartgate.store.vault import Key, Vault, home

LOG = structlog.get_logger()
QUERIES = load_queries("record.sql")


class RecordStore:
    """Copies by connection and reference, e.g. "north-ehr", "Slot/12"."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self, connection: str, reference: str) -> Copy | None:
        """The newest copy we have, with the time at which it was last known to be current."""
        resource_type, id_ = _split(reference)
        row = await self._database.fetch_row(
            QUERIES["select_current"], connection, resource_type, id_
        )
        if row is None:
            return None
        body = self._body(connection, reference, row["digest"], row)
        if body is None:
            return None
        return Copy(
            reference=reference,
            version=row["version"],
            digest=row["digest"],
            body=body,
            as_of=row["as_of"],
        )

    async def version(self, connection: str, reference: str, digest: bytes) -> bytes | None:
        """The canonical bytes of one version, e.g. as an AI client once saw it."""
        resource_type, id_ = _split(reference)
        row = await self._database.fetch_row(
            QUERIES["select_version"], connection, resource_type, id_, digest
        )
        return None if row is None else self._body(connection, reference, digest, row)

    async def versions(
        self, connection: str, wanted: Sequence[tuple[str, bytes]]
    ) -> dict[str, bytes]:
        """Canonical bytes by reference, of one version (digest) each; absent: not kept."""
        rows = await self._database.fetch(
            QUERIES["select_versions"],
            connection,
            [_split(reference)[0] for reference, _ in wanted],
            [_split(reference)[1] for reference, _ in wanted],
            [digest for _, digest in wanted],
        )
        return {
            row["reference"]: body
            for row in rows
            if (body := self._body(connection, row["reference"], row["digest"], row)) is not None
        }

    async def origin(
        self, connection: str, reference: str, digest: bytes
    ) -> tuple[int | None, str] | None:
        """The message that made a version, and its trace; None where there is no such version."""
        resource_type, id_ = _split(reference)
        row = await self._database.fetch_row(
            QUERIES["select_origin"], connection, resource_type, id_, digest
        )
        return (row["message"], row["trace"]) if row else None

    async def keep(self, connection: str, copies: Sequence[Copy]) -> None:
        """Stores versions and moves the current pointers, in a transaction of its own."""
        if copies:
            async with self._database.bookkeeping() as transaction:
                await self.keep_in(transaction, connection, copies)

    async def keep_in(
        self, transaction: Connection, connection: str, copies: Sequence[Copy]
    ) -> None:
        """As `keep`, inside the caller's transaction. Of copies with one `as_of` the last wins."""
        if not copies:
            return
        vault, at = self._database.vault, home(connection)
        owners = {
            c.digest: owner_of(loads(c.body)) if c.owner == UNTOLD else c.owner for c in copies
        }
        whose = {(at, owner) for owner in owners.values() if owner is not None}
        found = await vault.keys_in(transaction, whose)
        keys = {digest: found.get((at, owner or "")) for digest, owner in owners.items()}
        keys |= {digest: None for digest, owner in owners.items() if owner is None}
        await self._insert_versions(transaction, connection, copies, keys)
        current = sorted(_newest(copies).items())
        await transaction.execute(
            QUERIES["upsert_current"],
            self._database.tenant,
            connection,
            [key[0] for key, _ in current],
            [key[1] for key, _ in current],
            [c.digest for _, c in current],
            [c.version for _, c in current],
            [c.as_of for _, c in current],
            [c.stamps for _, c in current],
            [_id(keys[c.digest]) for _, c in current],
        )

    async def _insert_versions(
        self,
        transaction: Connection,
        connection: str,
        copies: Sequence[Copy],
        keys: Mapping[bytes, Key | None],
    ) -> None:
        """Each that is not known to be here, sealed by the key of its digest."""
        # Rows are taken in one order everywhere, so that two writers cannot deadlock.
        new = {(*_split(c.reference), c.digest): c for c in copies if not c.known}
        versions = sorted(new.items(), key=lambda item: item[0])
        if not versions:
            return
        vault, at = self._database.vault, home(connection)
        await transaction.execute(
            QUERIES["insert_versions"],
            self._database.tenant,
            connection,
            [key[0] for key, _ in versions],
            [key[1] for key, _ in versions],
            [c.digest for _, c in versions],
            [c.version for _, c in versions],
            [
                vault.seal(key, c.body, *_place(at, c.reference, c.digest))
                if (key := keys[c.digest])
                else c.body
                for _, c in versions
            ],
            [_id(keys[c.digest]) for _, c in versions],
            [c.as_of for _, c in versions],
            [c.message for _, c in versions],
            [c.trace for _, c in versions],
        )

    async def copies_in(
        self, transaction: Connection, connection: str, references: Sequence[str]
    ) -> tuple[Copy, ...]:
        """Current copies, with their stamps, as the transaction sees them. Nobody is erased before
        it ends, so that what is made of them cannot outlive whom it is about."""
        await self._database.vault.hold_in(transaction)
        rows = await transaction.fetch(
            QUERIES["select_bodies"],
            self._database.tenant,
            connection,
            [_split(reference)[0] for reference in references],
            [_split(reference)[1] for reference in references],
        )
        return tuple(
            Copy(
                reference=row["reference"],
                version=row["version"],
                digest=row["digest"],
                body=body,
                as_of=row["as_of"],
                stamps=row["stamps"],
            )
            for row in rows
            if (body := self._body(connection, row["reference"], row["digest"], row)) is not None
        )

    async def touch(self, connection: str, reference: str, version: str, as_of: datetime) -> None:
        """Notes that `version` was still current at `as_of` (the system answered 304)."""
        resource_type, id_ = _split(reference)
        async with self._database.bookkeeping() as transaction:
            await transaction.execute(
                QUERIES["touch_current"],
                self._database.tenant,
                connection,
                resource_type,
                id_,
                version,
                as_of,
            )

    def _body(self, connection: str, reference: str, digest: bytes, row: Row) -> bytes | None:
        """The canonical bytes of a version; None where they were erased, or are damaged, which the
        scrub finds and says."""
        try:
            return self._database.vault.open(
                row["body"],
                row["sealed_by"],
                row["wrapped"],
                *_place(home(connection), reference, digest),
            )
        except Erased:
            return None
        except Damaged:
            LOG.error("record.damaged", reference=reference)
            return None


def opened_body(
    vault: Vault,
    where: tuple[str, str, str],
    digest: bytes,
    body: bytes,
    sealed_by: int | None,
    wrapped: bytes | None,
) -> bytes:
    """The canonical bytes of a version of `where`: connection, type, id. Raises Erased, Damaged,
    ConfigError."""
    connection, resource_type, id_ = where
    place = _place(home(connection), f"{resource_type}/{id_}", digest)
    return vault.open(body, sealed_by, wrapped, *place)


def _place(connection: str, reference: str, digest: bytes) -> tuple[str, str, str, str]:
    return "record_version", connection, reference, digest.hex()


def _id(key: Key | None) -> int | None:
    return key.id if key else None


def _newest(copies: Sequence[Copy]) -> dict[tuple[str, str], Copy]:
    newest: dict[tuple[str, str], Copy] = {}
    for copy in copies:
        key = _split(copy.reference)
        if key not in newest or newest[key].as_of <= copy.as_of:
            newest[key] = copy
    return newest


def _split(reference: str) -> tuple[str, str]:
    parts = split_reference(reference)
    assert parts is not None, "a copy is named by a relative literal reference"
    return parts
