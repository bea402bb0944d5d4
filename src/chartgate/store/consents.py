"""Consents of patients: what systems of record said of them, and what was recorded here.

A copy of what a system said changes by `bookkeeping`, since it changes no state of ours; but where
it says something else than before, that is a change with its audit event, and moves the epoch, so
that nothing decided by the old one is answered any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from chartgate.formats.canonical import digest
from chartgate.model.audit import AuditEvent
from chartgate.store.database import Connection, Database, Row
from chartgate.store.governance import bump_epoch
from chartgate.store.queries import load_queries

QUERIES = load_queries("consents.sql")

Kind = Literal["consent", "revocation"]
Wanted = tuple[str, str, str]  # site, connection, patient


@dataclass(frozen=True, kw_only=True)
class Known:
    """Of one patient. `as_of` is None where the system of record was never asked."""

    patient: str
    as_of: datetime | None
    bodies: tuple[bytes, ...]  # as the system of record gave them
    local: tuple[bytes, ...]  # recorded here
    epoch: int  # (see governance.py) while it does not move, all of this but `as_of` holds


@dataclass(frozen=True, kw_only=True)
class Local:
    """A Consent that was brought here, or a revocation."""

    id: str
    kind: Kind
    body: bytes
    recorded_by: str
    recorded_at: datetime


class ConsentStore:
    """Consents of one tenant's patients."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, wanted: Sequence[Wanted]) -> dict[Wanted, Known]:
        """All that is here of each, in one query. Raises Unavailable."""
        distinct = list(dict.fromkeys(wanted))
        if not distinct:
            return {}
        rows = await self._database.fetch(QUERIES["select_known"], *zip(*distinct, strict=True))
        return {(r["site"], r["connection"], r["patient"]): _known(r) for r in rows}

    async def keep(
        self,
        connection: str,
        patient: str,
        bodies: Sequence[bytes],
        *,
        as_of: datetime,
        changed: AuditEvent,
        first_counts: bool,
    ) -> None:
        """Keeps what the system of record said. `changed` stands for it if that differs from
        before; with `first_counts` also if it never said anything before and does so now."""
        kept = sorted(bodies)
        own = (self._database.tenant, connection, patient, _digest(kept), as_of)
        async with self._database.bookkeeping() as transaction:
            if await transaction.fetchval(QUERIES["touch_state"], *own):
                return
            if not (first_counts and kept) and await transaction.fetchval(
                QUERIES["insert_state"], *own, kept
            ):
                return
        async with self._database.change_found() as (transaction, events):
            inserted = await transaction.fetchval(QUERIES["insert_state"], *own, kept)
            if inserted or await transaction.fetchval(QUERIES["replace_state"], *own, kept):
                await bump_epoch(transaction, self._database.tenant)
                events.append(changed)

    async def put_local(
        self, transaction: Connection, site: str, patient: str, local: Local
    ) -> None:
        """Records a Consent or a revocation; one of the same id is replaced. Moves the epoch."""
        await transaction.execute(
            QUERIES["put_local"],
            self._database.tenant,
            site,
            patient,
            local.id,
            local.kind,
            local.body,
            local.recorded_by,
            local.recorded_at,
        )
        await bump_epoch(transaction, self._database.tenant)

    async def local(self, site: str, patient: str) -> tuple[Local, ...]:
        """What was recorded here, oldest first."""
        rows = await self._database.fetch(QUERIES["select_local"], site, patient)
        return tuple(Local(**row) for row in rows)


async def forget(
    transaction: Connection, tenant: str, *, site: str, connections: Sequence[str], patient: str
) -> None:
    """For an erasure: all of this patient's consents. Their absence permits nothing new, because
    there is nothing left of them to see."""
    await transaction.execute(QUERIES["delete_states"], tenant, list(connections), patient)
    await transaction.execute(QUERIES["delete_local"], tenant, site, patient)


def _known(row: Row) -> Known:
    bodies = tuple(row["bodies"] or ())
    intact = row["as_of"] is not None and bytes(row["digest"]) == _digest(bodies)
    return Known(
        patient=row["patient"],
        as_of=row["as_of"] if intact else None,  # what was altered here is as if never asked
        bodies=bodies if intact else (),
        local=tuple(row["local"] or ()),
        epoch=row["epoch"],
    )


def _digest(bodies: Sequence[bytes]) -> bytes:
    return digest(b"\n".join(digest(body) for body in bodies))
