"""Access tokens of AI clients, kept as hashes, and the assertions that were used for them."""

from dataclasses import dataclass
from datetime import datetime

from chartgate.errors import Unauthenticated
from chartgate.model.audit import AuditEvent
from chartgate.model.principal import Client
from chartgate.store.database import Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("tokens.sql")


@dataclass(frozen=True, kw_only=True)
class Assertion:
    """What makes a client assertion single use. Kept until it could no longer be replayed."""

    client: str
    jti: str
    expires_at: datetime


class TokenStore:
    """Tokens of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def issue(
        self,
        token_hash: bytes,
        client: Client,
        *,
        expires_at: datetime,
        assertion: Assertion,
        audit: AuditEvent,
    ) -> None:
        """Uses up the assertion and stores the token. Raises Unauthenticated on a replay."""
        tenant = self._database.tenant
        async with self._database.change(audit) as connection:
            used = await connection.fetchval(
                QUERIES["insert_assertion"],
                tenant, assertion.client, assertion.jti, assertion.expires_at,
            )  # fmt: skip
            if used is None:
                raise Unauthenticated("this assertion (jti) was used before; sign a new one")
            await connection.execute(
                QUERIES["insert_token"],
                tenant, token_hash, client.id, client.charter, list(client.scopes), expires_at,
            )  # fmt: skip
            # Each issue clears away more than it adds, so neither table can grow without end.
            for query in ("delete_expired_assertions", "delete_expired_tokens"):
                await connection.execute(QUERIES[query], tenant, audit.recorded)

    async def find(self, token_hash: bytes, *, now: datetime) -> tuple[Client, datetime] | None:
        """Whose token it is, and until when; None if it is not known or has expired."""
        row = await self._database.fetch_row(QUERIES["select_token"], token_hash, now)
        if row is None:
            return None
        client = Client(id=row["client"], charter=row["charter"], scopes=tuple(row["scopes"]))
        return client, row["expires_at"]
