"""What a query costs by PostgreSQL's own account."""

import json
from typing import Any

from chartgate.store.database import Database


async def pages_read(database: Database, query: str, *parameters: Any) -> int:
    """Pages that one run touches, in memory or on disk."""
    plan = await database.fetch_value(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *parameters
    )
    top = json.loads(plan)[0]["Plan"]
    return int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"])
