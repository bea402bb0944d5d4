"""One unit of AI work, and its read set: what it saw."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """Reads and proposals of one client that belong together."""

    id: str  # UUID
    client: str
    charter: str
    site: str
    started_at: datetime


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One row of a read set."""

    reference: str
    version: str
    digest: bytes  # SHA-256 of the canonical bytes in the system of record
    as_of: datetime
    search: str | None = None  # the query that found it, e.g. "Slot?status=free"
