"""Sign-ins that were sent to a provider and are not back yet. They hold no secret and give no
right: what comes back must show the browser's own cookie too."""

from dataclasses import dataclass
from datetime import datetime

from chartgate.store.database import Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("sign_ins.sql")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One sign-in under way."""

    browser_hash: bytes  # of the cookie that the browser got with it
    way: str  # "oidc", or "launch:NAME"
    then_path: str  # the page that was asked for
    session_hash: bytes | None  # of the session that the new one replaces
    expires_at: datetime


class SignInStore:
    """Sign-ins under way of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(
        self, state_hash: bytes, attempt: Attempt, *, now: datetime, attempts_max: int
    ) -> None:
        """Notes one, and sweeps out what has expired, and the oldest beyond `attempts_max`."""
        tenant = self._database.tenant
        async with self._database.bookkeeping() as transaction:
            await transaction.execute(QUERIES["delete_old_attempts"], tenant, now, attempts_max)
            await transaction.execute(
                QUERIES["insert_attempt_to_sign_in"],
                tenant,
                state_hash,
                attempt.browser_hash,
                attempt.way,
                attempt.then_path,
                attempt.session_hash,
                attempt.expires_at,
            )

    async def take(self, state_hash: bytes) -> Attempt | None:
        """The sign-in of this state, which no second caller can take."""
        row = await self._database.bookkeep_row(QUERIES["take_attempt"], state_hash)
        return Attempt(**row) if row else None
