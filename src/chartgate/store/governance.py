"""The epoch: one number a tenant that moves whenever a right is taken away.

Whoever decides by something that was kept takes the epoch first, and is given it again by the
statement that makes the audit event of the answer durable. If it moved in between, what was decided
may not hold any more, and is decided anew. So a revocation works at once, in every process, and no
cache has to be told.
"""

from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("governance.sql")


async def bump_epoch(transaction: Connection, tenant: str) -> None:
    """Call it in the transaction that takes the right away."""
    await transaction.execute(QUERIES["bump_epoch"], tenant)


async def current_epoch(database: Database) -> int:
    """The epoch now; 0 where no right was ever taken away. Raises Unavailable."""
    epoch: int = await database.fetch_value(QUERIES["select_epoch"])
    return epoch
