"""Access tokens of AI clients and services, kept as hashes, and the assertions that were used for
them. The two kinds lie in two tables, so that one can never be taken for the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chartgate.errors import Unauthenticated
from chartgate.model.audit import AuditEvent
from chartgate.model.principal import Client
from chartgate.store.database import Connection, Database, Row
from chartgate.store.governance import bump_epoch
from chartgate.store.queries import load_queries

QUERIES = load_queries("tokens.sql")


@dataclass(frozen=True, kw_only=True)
class Assertion:
    """What makes a client assertion single use. Kept until it could no longer be replayed."""

    client: str  # whose it is; for a service its agent, "service:…"
    jti: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """What is the same of all tokens."""

    token_hash: bytes
    audience: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientToken:
    """A token of an AI client."""

    ticket: Ticket
    client: Client


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceToken:
    """A token of a service. What it may is asked of the config, each time."""

    ticket: Ticket
    service: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A row for whoever looks after tokens."""

    kind: str  # "client" or "service"
    holder: str
    charter: str
    scopes: tuple[str, ...]
    sites: tuple[str, ...]
    ticket: Ticket


class TokenStore:
    """Tokens of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def issue(self, token: ClientToken, *, assertion: Assertion, audit: AuditEvent) -> None:
        """Uses up the assertion and stores the token. Raises Unauthenticated on a replay."""
        ticket, client = token.ticket, token.client
        assert client.sites is not None, "a token holds at named sites"
        async with self._database.change(audit) as connection:
            await self._use_up(connection, assertion, audit.recorded)
            await connection.execute(
                QUERIES["insert_token"],
                self._database.tenant, ticket.token_hash, client.id, client.charter,
                list(client.scopes), list(client.sites), ticket.audience, ticket.issued_at,
                ticket.expires_at,
            )  # fmt: skip

    async def issue_to_service(
        self, token: ServiceToken, *, assertion: Assertion, audit: AuditEvent
    ) -> None:
        """As `issue`."""
        ticket = token.ticket
        async with self._database.change(audit) as connection:
            await self._use_up(connection, assertion, audit.recorded)
            await connection.execute(
                QUERIES["insert_service_token"],
                self._database.tenant, ticket.token_hash, token.service, ticket.audience,
                ticket.issued_at, ticket.expires_at,
            )  # fmt: skip

    async def find(self, token_hash: bytes, *, now: datetime) -> ClientToken | None:
        """A client's token; None if it is not known or has expired."""
        row = await self._database.fetch_row(QUERIES["select_token"], token_hash, now)
        if row is None:
            return None
        client = Client(
            id=row["client"],
            charter=row["charter"],
            scopes=tuple(row["scopes"]),
            sites=tuple(row["sites"]),
            epoch=row["epoch"],
        )
        return ClientToken(ticket=_ticket(row), client=client)

    async def find_of_service(self, token_hash: bytes, *, now: datetime) -> ServiceToken | None:
        """A service's token; None if it is not known or has expired."""
        row = await self._database.fetch_row(QUERIES["select_service_token"], token_hash, now)
        return ServiceToken(ticket=_ticket(row), service=row["service"]) if row else None

    async def list(self, *, now: datetime, count_max: int) -> Sequence[Listed]:
        """Those that hold now, the oldest first."""
        rows = await self._database.fetch(QUERIES["select_tokens"], now, count_max)
        return [
            Listed(
                kind=row["kind"],
                holder=row["holder"],
                charter=row["charter"],
                scopes=tuple(row["scopes"]),
                sites=tuple(row["sites"]),
                ticket=_ticket(row),
            )
            for row in rows
        ]

    async def revoke(
        self,
        audit: AuditEvent,
        *,
        token_hash: bytes | None = None,
        client: str | None = None,
        service: str | None = None,
    ) -> Sequence[bytes]:
        """Takes away one token, or all of a client or service; with none of the three, all there
        are. The hashes of those that were there; the event is kept only if there were any."""
        tenant = self._database.tenant
        async with self._database.change_found() as (connection, events):
            rows = await connection.fetch(
                QUERIES["delete_tokens"], tenant, token_hash, client, service
            )
            if rows:
                events.append(audit)
                await bump_epoch(connection, tenant)
        return [row["token_hash"] for row in rows]

    async def _use_up(self, connection: Connection, assertion: Assertion, now: datetime) -> None:
        tenant = self._database.tenant
        used = await connection.fetchval(
            QUERIES["insert_assertion"],
            tenant, assertion.client, assertion.jti, assertion.expires_at,
        )  # fmt: skip
        if used is None:
            raise Unauthenticated("this assertion (jti) was used before; sign a new one")
        # Each issue clears away more than it adds, so that no table can grow without end.
        for query in (
            "delete_expired_assertions",
            "delete_expired_tokens",
            "delete_expired_service_tokens",
        ):
            await connection.execute(QUERIES[query], tenant, now)


def _ticket(row: Row) -> Ticket:
    return Ticket(
        token_hash=row["token_hash"],
        audience=row["audience"],
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
    )
