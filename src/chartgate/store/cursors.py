"""Where a search goes on. A cursor is a random text of which the hash is kept, with whom it was
given to and by which decision: nobody else can use it, nor can they once the rules changed."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from chartgate.store.database import Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("cursors.sql")
LIFETIME = timedelta(minutes=10)
BYTES = 24


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """The rest of one search."""

    client: str
    charter: str
    site: str
    decision: str
    interaction: str
    resource_type: str
    criteria: tuple[tuple[str, str], ...]
    page_size: int
    position: int  # of the next match, in the order of the system of record
    after: str  # reference of the last match that was gone through


class CursorStore:
    """Cursors of one tenant. Nothing of ours changes by them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, cursor: Cursor, *, now: datetime) -> str:
        """The text by which the client names it, for `LIFETIME`."""
        text = secrets.token_urlsafe(BYTES)
        await self._database.bookkeep_row(
            QUERIES["insert_cursor"],
            _hash(text), cursor.client, cursor.charter, cursor.site, cursor.decision,
            cursor.interaction, cursor.resource_type, _criteria(cursor.criteria),
            cursor.page_size, now, now + LIFETIME, cursor.position, cursor.after,
        )  # fmt: skip
        return text

    async def get(self, text: str, *, now: datetime) -> Cursor | None:
        """The cursor of that text, if there is one that has not expired."""
        row = await self._database.fetch_row(QUERIES["select_cursor"], _hash(text), now)
        if row is None:
            return None
        pairs = orjson.loads(row["criteria"])
        return Cursor(**{**row, "criteria": tuple((name, value) for name, value in pairs)})


def _criteria(criteria: Sequence[tuple[str, str]]) -> bytes:
    return orjson.dumps(criteria)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
