"""Everything that is stored, opened and compared with its digest, a page at a time."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

from chartgate.errors import Damaged, Erased
from chartgate.formats.canonical import digest as digest_of
from chartgate.store.database import Database, Row
from chartgate.store.queries import load_queries

QUERIES = load_queries("scrub.sql")
PAGE = 500
TABLES = {  # to the query that reads them
    "record_version": "read_record_version",
    "disclosure": "read_disclosure",
    "disclosure_frame": "read_disclosure_frame",
    "inbox": "read_inbox",
    "quarantine": "read_quarantine",
    "outgoing": "read_outgoing",
    "proposal": "read_proposal",
    "proposal_content": "read_proposal_content",
    "proposal_attempt": "read_proposal_attempt",
}


@dataclass(frozen=True, kw_only=True)
class Scrubbed:
    """One page of one table."""

    table: str
    sound: int
    plain: int  # of those, not sealed
    gone: int  # emptied, or erased
    damaged: int


class ScrubStore:
    """What one tenant has stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pages(self) -> AsyncIterator[Scrubbed]:
        """Every page of every table."""
        for table, query in TABLES.items():
            after = ""
            while rows := await self._database.fetch(QUERIES[query], after, PAGE):
                found = Counter(self._verdict(table, row) for row in rows)
                yield Scrubbed(
                    table=table,
                    sound=found["sealed"] + found["plain"],
                    plain=found["plain"],
                    gone=found["gone"],
                    damaged=found["damaged"],
                )
                after = rows[-1]["at"]

    def _verdict(self, table: str, row: Row) -> str:
        vault, body, key = self._database.vault, row["body"], row["sealed_by"]
        if not body:
            return "gone"
        by_connection = table in ("inbox", "quarantine")
        if by_connection and key is not None and not vault.is_sealed_by(body, key):
            key = None  # from before there were keys
        try:
            plain = vault.open(body, key, row["wrapped"], table, *row["place"])
        except Erased:
            return "gone"
        except Damaged:
            return "damaged"
        if row["digest"] is not None and digest_of(plain) != row["digest"]:
            return "damaged"
        return "plain" if key is None else "sealed"
