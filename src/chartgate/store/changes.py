"""What was adopted last, and the changes that wait for two people."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from chartgate.errors import NotFound, VersionConflict
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries

QUERIES = load_queries("changes.sql")

Kind = Literal["charters", "config", "stage"]
LISTED_MAX = 200
SAY_RACED = "another process adopted something else in the meantime; it is looked at again"


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What is in force by the last adoption."""

    serial: int
    digest: str
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change that weakens a rule."""

    digest: str
    kind: Kind
    subject: str
    sentences: tuple[str, ...]
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    status: Literal["waiting", "approved", "refused", "adopted"] = "waiting"
    approved_by: tuple[str, ...] = ()


def rule_change_json(change: Change) -> dict[str, Any]:
    """RuleChange of openapi.yaml."""
    return {
        "digest": change.digest,
        "kind": change.kind,
        "subject": change.subject,
        "weaker": list(change.sentences),
        "status": change.status,
        "asked_by": change.asked_by,
        "asked_at": change.asked_at.isoformat(),
        "expires_at": change.expires_at.isoformat(),
        "approved_by": list(change.approved_by),
    }


class ChangeStore:
    """Changes of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def adopted(self, kind: Kind) -> Adopted | None:
        """What was adopted last; None: nothing yet."""
        row = await self._database.fetch_row(QUERIES["select_adopted"], kind)
        return Adopted(**row) if row else None

    async def adopt(
        self,
        transaction: Connection,
        kind: Kind,
        before: Adopted | None,
        *,
        digest: str,
        body: bytes,
        at: datetime,
    ) -> None:
        """Puts it in force in the place of `before`. Raises VersionConflict if that is not what
        was adopted last."""
        serial = before.serial if before else 0
        done: str = await transaction.execute(
            QUERIES["adopt_state"], self._database.tenant, kind, serial, digest, body, at
        )
        if done != "INSERT 0 1":
            raise VersionConflict(SAY_RACED)

    async def ask(self, transaction: Connection, change: Change) -> bool:
        """Lets it wait. False: it waits already, or was decided."""
        done: str = await transaction.execute(
            QUERIES["ask_change"],
            self._database.tenant,
            change.digest,
            change.kind,
            change.subject,
            list(change.sentences),
            change.asked_by,
            change.asked_at,
            change.expires_at,
        )
        if done != "INSERT 0 1":
            return False
        await transaction.execute(
            QUERIES["delete_lapsed_approvals"],
            self._database.tenant,
            change.digest,
            change.asked_at,
        )
        return True

    async def find(self, digest: str) -> Change | None:
        """The change with this digest, if there is one."""
        row = await self._database.fetch_row(QUERIES["select_change"], digest)
        return _change(row) if row else None

    async def get(self, digest: str) -> Change:
        """As `find`. Raises NotFound."""
        found = await self.find(digest)
        if found is None:
            raise NotFound("there is no such change; `chartgate change list` shows all")
        return found

    async def listed(self) -> tuple[Change, ...]:
        """The latest first, at most LISTED_MAX."""
        rows = await self._database.fetch(QUERIES["select_changes"], LISTED_MAX)
        return tuple(_change(row) for row in rows)

    async def approve(
        self, transaction: Connection, digest: str, person: str, *, at: datetime
    ) -> int:
        """Notes one person's approval; how many there are then. Raises VersionConflict if it
        waits no more."""
        tenant = self._database.tenant
        if await transaction.fetchval(QUERIES["lock_change"], tenant, digest) != "waiting":
            raise VersionConflict("this change does not wait any more")
        await transaction.execute(QUERIES["insert_approval"], tenant, digest, person, at)
        count: int = await transaction.fetchval(QUERIES["count_approvals"], tenant, digest)
        return count

    async def move(self, transaction: Connection, digest: str, before: str, after: str) -> None:
        """A change of status. Raises VersionConflict if it was another."""
        done: str = await transaction.execute(
            QUERIES["move_change"], self._database.tenant, digest, before, after
        )
        if done != "UPDATE 1":
            raise VersionConflict(f"this change is not {before} any more")


def _change(row: Row) -> Change:
    return Change(
        digest=row["digest"],
        kind=row["kind"],
        subject=row["subject"],
        sentences=tuple(row["sentences"]),
        asked_by=row["asked_by"],
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
        status=row["status"],
        approved_by=tuple(row["approved_by"]),
    )
