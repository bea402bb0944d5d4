"""Sending the audit to record repositories of the hospital: IHE ITI-20, FHIR feed.

Store and forward: the ledger is the store, and each destination has a cursor over its numbers.
Events go in order and at least once; a destination that does not answer is tried again ever more
seldom, delays nothing else and loses nothing. Each event bears the hash of its leaf, by which a
repository tells what came twice.
Source: https://profiles.ihe.net/ITI/TF/Volume2/ITI-20.html
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import aiohttp
import orjson

from chartgate.adapters.egress import open_session, read_capped
from chartgate.config import AtnaConfig
from chartgate.errors import ConfigError, SourceUnreachable, mapped
from chartgate.flows.audit_export import place_of
from chartgate.gate import Gate
from chartgate.model.audit import read_leaf
from chartgate.store.atna import AtnaStanding, AtnaStore, Claim
from chartgate.store.audit_search import EVER, NEVER
from chartgate.store.database import Row
from chartgate.store.ledger import LedgerStore
from chartgate.transform.balp.agents import Place
from chartgate.transform.balp.events import fhir_events

LEASE_S = 60.0
ANSWER_BYTES_MAX = 5_000_000
FHIR_JSON = "application/fhir+json"
FORMATS = ("fhir",)


class NotTaken(SourceUnreachable):
    """A repository did not take an event; those before it in the batch it has."""

    def __init__(self, message: str, *, taken: int) -> None:
        super().__init__(message)
        self.taken = taken


class Sender(Protocol):
    """What events are handed to, in whatever form."""

    async def send(self, events: Sequence[Row], place: Place) -> None:
        """Returns once all are taken. Raises NotTaken."""


class FhirFeed:
    """ITI-20, "Send Audit Bundle": one batch Bundle of creates."""

    def __init__(self, http: aiohttp.ClientSession, config: AtnaConfig, token: str) -> None:
        self._http = http
        self._url = config.url
        self._headers = {"Content-Type": FHIR_JSON, "Accept": FHIR_JSON}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    async def send(self, events: Sequence[Row], place: Place) -> None:
        """One request for all of them."""
        entries, owner = [], []
        for number, row in enumerate(events):
            made = fhir_events(read_leaf(row["body"]), leaf=row["hash"].hex(), place=place)
            for resource in made:
                request = {"method": "POST", "url": "AuditEvent"}
                entries.append({"resource": resource, "request": request})
                owner.append(number)
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        try:
            async with self._http.post(
                self._url, data=orjson.dumps(bundle), headers=self._headers, allow_redirects=False
            ) as answer:
                body = await read_capped(answer, ANSWER_BYTES_MAX)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotTaken(f"no answer: {type(error).__name__}", taken=0) from error
        if status != 200:
            raise NotTaken(f"it answered {status}", taken=0)
        refused = _first_refused(body, len(entries))
        if refused is not None:
            raise NotTaken("it refused an event of the batch", taken=owner[refused])


@asynccontextmanager
async def open_feeds(gate: Gate) -> AsyncIterator["Feeds"]:
    """Everything that a worker sends with. Raises ConfigError."""
    async with AsyncExitStack() as stack:
        senders: dict[str, Sender] = {}
        for name, config in gate.config.atna.items():
            check_destination(gate, config)
            ca_file = gate.config.path(config.ca_file) if config.ca_file else None
            http = await stack.enter_async_context(
                open_session(
                    gate.config, allow=[config.url], timeout_s=config.timeout_s, ca_file=ca_file
                )
            )
            senders[name] = FhirFeed(http, config, _token(gate, config))
        yield Feeds(gate, senders)


class Feeds:
    """The destinations of one worker."""

    def __init__(self, gate: Gate, senders: Mapping[str, Sender]) -> None:
        self._gate = gate
        self._senders = senders
        self._store = AtnaStore(gate.database)

    async def send_next(self) -> int:
        """One batch to each destination that is due, all at once; how many events were taken.
        Raises Unavailable."""
        sent = await asyncio.gather(*(self._send(name) for name in self._senders))
        return sum(sent)

    async def _send(self, name: str) -> int:
        gate, config = self._gate, self._gate.config.atna[name]
        now = gate.clock()
        lease_until = now + timedelta(seconds=LEASE_S + config.timeout_s)
        claim = await self._store.claim(name, at=now, lease_until=lease_until, first=0)
        if claim is None:
            return 0
        rows, end = await self._batch(claim, config)
        if not rows:
            await self._store.release(claim, max(end, claim.seq), next_try_at=gate.clock())
            return 0
        try:
            await self._senders[name].send(rows, place_of(gate))
        except NotTaken as error:
            await self._note_failure(claim, rows, error)
            return error.taken
        after = rows[-1]["seq"] + 1
        await self._store.note_sent(claim, after, at=gate.clock())
        return len(rows)

    async def _batch(self, claim: Claim, config: AtnaConfig) -> tuple[Sequence[Row], int]:
        """The next events, and up to where there are none."""
        ledger = LedgerStore(self._gate.database)
        async with self._gate.database.connection() as connection:
            size = await ledger.size(connection)
            rows = await ledger.recorded_between(
                connection,
                first=claim.seq,
                end=size,
                since=since_of(config),
                until=NEVER,
                count_max=max(1, config.batch_max),
            )
        return rows, size

    async def _note_failure(self, claim: Claim, rows: Sequence[Row], error: NotTaken) -> None:
        worker = self._gate.config.worker
        wait_s = min(worker.backoff_cap_s, worker.backoff_base_s * 2 ** min(claim.failures, 30))
        await self._store.note_failed(
            claim,
            rows[error.taken]["seq"],
            retry_at=self._gate.clock() + timedelta(seconds=wait_s),
            error=str(error),
        )


async def standing(gate: Gate) -> tuple[AtnaStanding, ...]:
    """How each destination of the config stands; one that was never sent to lags by all."""
    known = {each.destination: each for each in await AtnaStore(gate.database).standing()}
    return tuple(known[name] for name in sorted(gate.config.atna) if name in known)


def check_destination(gate: Gate, config: AtnaConfig) -> None:
    """Raises ConfigError."""
    if config.format not in FORMATS:
        raise ConfigError(f'[atna.{config.name}] format must be "fhir"')
    since_of(config)
    if gate.config.production and not config.url.startswith("https://"):
        raise ConfigError(f"[atna.{config.name}] url must be https in production")


def since_of(config: AtnaConfig) -> datetime:
    """From when on events are sent. Raises ConfigError."""
    if not config.since:
        return EVER
    with mapped({ValueError: ConfigError}, f"[atna.{config.name}] since must be a date"):
        return datetime.fromisoformat(config.since).replace(tzinfo=UTC)


def _first_refused(body: bytes, count: int) -> int | None:
    """Position of the first entry that was not created; an answer that is no batch-response, or
    a shorter one, counts as a refusal of what it leaves out."""
    try:
        entries = orjson.loads(body).get("entry", [])
        taken = [str(entry["response"]["status"]).startswith("2") for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError):
        return 0
    taken += [False] * (count - len(taken))
    return next((n for n, is_taken in enumerate(taken[:count]) if not is_taken), None)


def _token(gate: Gate, config: AtnaConfig) -> str:
    if not config.token_file:
        return ""
    path: Path = gate.config.path(config.token_file)
    with mapped({OSError: ConfigError}, f"[atna.{config.name}] token_file cannot be read"):
        return path.read_text(encoding="utf-8").strip()
