"""The watch over schema drift: what the feeds bring is observed, findings are kept and told.

`observe` is called with each batch of messages and stays in memory. `settle` writes: findings at
once, profiles now and then, each merged with what other workers wrote, so that what a person
acknowledged becomes the new normal everywhere. What a worker had not yet written when it was
killed, it finds or learns again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson
import structlog

from chartgate.errors import Denied, InvalidTransition, NotFound
from chartgate.formats.canonical import canonical_bytes
from chartgate.formats.hl7v2 import Message
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.drift import DriftFinding, FeedKey
from chartgate.model.message import Queued
from chartgate.model.principal import Person, Process
from chartgate.store.database import Connection
from chartgate.store.drift import DriftStore
from chartgate.transform.hl7v2.drift import Profile
from chartgate.transform.hl7v2.drift_novelty import DriftRules, Finding
from chartgate.transform.hl7v2.drift_profile import (
    Knowledge,
    Novelty,
    accept,
    from_json,
    knows,
    merged,
    to_json,
)

LOG = structlog.get_logger()
WORKER = "process:worker"
OPERATOR = "operator"
WAITING_MAX = 1000  # messages kept for feeds whose profiles are still to be read
LISTED_MAX = 10_000


@dataclass(kw_only=True)
class _Watched:
    """One feed, and what is to be written about it."""

    profile: Profile
    written_at: datetime
    seen: bool = False  # since it was written
    found: list[Finding] = field(default_factory=list)
    again: dict[Novelty, Finding] = field(default_factory=dict)


class DriftWatch:
    """One worker's watch over all feeds."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._store = DriftStore(gate.database)
        self._rules = DriftRules(
            learning=gate.config.drift.learning_messages, window=gate.config.drift.window_messages
        )
        self._feeds: dict[FeedKey, _Watched] = {}
        self._waiting: list[tuple[FeedKey, Queued, Message]] = []
        self._next_at: datetime | None = None
        self._is_full = False

    def observe(self, batch: Sequence[tuple[Queued, Message]]) -> None:
        """Looks at messages in their order. Never raises: the watch must not stop the feed."""
        for queued, message in batch:
            try:
                header = message.header
                sender = f"{header.raw(3)}|{header.raw(4)}"
                self._observe(
                    FeedKey(queued.connection, sender, queued.message_type), queued, message
                )
            except Exception as error:  # noqa: BLE001  whatever is wrong, the message goes on
                LOG.error("drift.observe", message=queued.id, error=type(error).__name__)

    async def settle_next(self) -> int:
        """As `settle`, but only every `settle_s`; always 0, since nothing is queued."""
        now = self._gate.clock()
        if self._next_at is None or now >= self._next_at:
            self._next_at = now + timedelta(seconds=self._gate.config.drift.settle_s)
            await self.settle()
        return 0

    async def settle(self, *, everything: bool = False) -> None:
        """Reads the profiles that are wanted; writes findings, and profiles that are due or, at
        an orderly end, `everything`. Raises Unavailable; what was not written is kept."""
        await self._read_wanted()
        now = self._gate.clock()
        due = now - timedelta(seconds=self._gate.config.drift.write_s)
        for feed, watched in sorted(self._feeds.items()):
            for one in watched.profile.again():
                _add(watched, one)
            if watched.found:
                await self._tell(feed, watched)
            elif watched.seen and (everything or watched.written_at <= due):
                async with self._gate.database.bookkeeping() as transaction:
                    await self._write(transaction, feed, watched)
                    await self._count(transaction, feed, watched)
                _wrote(watched, now, found=0)

    def _observe(self, feed: FeedKey, queued: Queued, message: Message) -> None:
        watched = self._feeds.get(feed)
        if watched is None:
            if len(self._waiting) < WAITING_MAX:
                self._waiting.append((feed, queued, message))
            return
        watched.seen = True
        watched.found += watched.profile.observe(message, number=queued.id, at=queued.received_at)

    async def _read_wanted(self) -> None:
        wanted = sorted({feed for feed, _, _ in self._waiting} - self._feeds.keys())
        room = self._gate.config.drift.profiles_max - len(self._feeds)
        if len(wanted) > room and not self._is_full:
            self._is_full = True
            LOG.warning("drift.full", profiles=len(self._feeds), more=len(wanted) - room)
        wanted = wanted[:room]
        if wanted:
            kept = await self._store.profiles(wanted)
            now = self._gate.clock()
            for feed in wanted:
                known = _knowledge(kept.get(feed, b""))
                profile = Profile(known, rules=self._rules)
                self._feeds[feed] = _Watched(profile=profile, written_at=now)
        waiting, self._waiting = self._waiting, []
        for feed, queued, message in waiting:
            if feed in self._feeds:
                self._observe(feed, queued, message)

    async def _tell(self, feed: FeedKey, watched: _Watched) -> None:
        """Findings, each with its audit event, and the profile, in one transaction."""
        now = self._gate.clock()
        found = list(watched.found)
        async with self._gate.database.change_found() as (transaction, audit):
            known = await self._write(transaction, feed, watched)
            for one in found:
                if not knows(known.positions, one.novelty):  # acknowledged meanwhile
                    number = await self._store.open(transaction, _row(feed, one))
                    audit.append(self._event(feed, one, number))
            await self._count(transaction, feed, watched)
        _wrote(watched, now, found=len(found))

    async def _write(self, transaction: Connection, feed: FeedKey, watched: _Watched) -> Knowledge:
        """Writes what this worker and the store know together, and goes on with that."""
        kept = await self._store.lock_profile(transaction, feed)
        known = merged(watched.profile.knowledge, _knowledge(kept))
        watched.profile.adopt(known)
        await self._store.put_profile(transaction, feed, _body(known))
        return known

    async def _count(self, transaction: Connection, feed: FeedKey, watched: _Watched) -> None:
        """Adds to open findings what came again of them."""
        for one in watched.again.values():
            await self._store.count(
                transaction,
                feed,
                position=one.position,
                kind=one.kind,
                detail=one.detail,
                more=one.count,
                at=one.last_seen_at,
            )

    def _event(self, feed: FeedKey, one: Finding, number: int) -> AuditEvent:
        connection = self._gate.config.connections.get(feed.connection)
        return AuditEvent(
            recorded=self._gate.clock(),
            action="feed.drift",
            agent=WORKER,
            site=connection.site if connection else None,
            entities=(f"DriftFinding/{number}", f"Message/{one.examples[0]}"),
            details=_details(feed, position=one.position, kind=one.kind),
        )


async def findings(
    gate: Gate, *, with_acknowledged: bool = False, limit: int = 100
) -> tuple[DriftFinding, ...]:
    """Open findings, those seen last first. Raises Unavailable."""
    limit = min(limit, LISTED_MAX)
    return await DriftStore(gate.database).listed(with_acknowledged=with_acknowledged, limit=limit)


async def finding(gate: Gate, number: int) -> DriftFinding:
    """One finding. Raises NotFound, Unavailable."""
    found = await DriftStore(gate.database).finding(number)
    if found is None:
        raise NotFound(
            f"there is no drift finding {number}; `chartgate feed drift list --all` shows them"
        )
    return found


async def acknowledge(gate: Gate, who: Person | Process, number: int) -> DriftFinding:
    """Makes a finding the new normal, for all workers. Needs the role `operator`, or a shell.

    Raises Denied, NotFound, InvalidTransition, Unavailable.
    """
    found = await finding(gate, number)
    at = gate.clock()
    details = _details(found.feed, position=found.position, kind=found.kind)
    event = AuditEvent(
        recorded=at,
        action="feed.drift-acknowledge",
        agent=who.agent,
        entities=(f"DriftFinding/{number}",),
        details=details,
    )
    if isinstance(who, Person) and OPERATOR not in who.roles:
        denied = AuditEvent(
            recorded=at,
            action=event.action,
            agent=who.agent,
            outcome=Outcome.DENIED,
            entities=event.entities,
            details=details,
        )
        await gate.audit.record(denied)
        raise Denied(f"acknowledging drift needs the role {OPERATOR}")
    store = DriftStore(gate.database)
    async with gate.database.change(event) as transaction:
        known = _knowledge(await store.lock_profile(transaction, found.feed))
        if not await store.acknowledge(transaction, number, by=who.agent, at=at):
            raise InvalidTransition(f"drift finding {number} has been acknowledged already")
        accept(known, (found.kind, found.position, found.detail))
        await store.put_profile(transaction, found.feed, _body(known))
    return await finding(gate, number)


def _add(watched: _Watched, one: Finding) -> None:
    before = watched.again.get(one.novelty)
    watched.again[one.novelty] = one.plus(before.count) if before else one
    watched.seen = True


def _wrote(watched: _Watched, now: datetime, *, found: int) -> None:
    watched.written_at = now
    watched.seen = False
    del watched.found[:found]
    watched.again.clear()


def _row(feed: FeedKey, one: Finding) -> DriftFinding:
    return DriftFinding(
        id=0,  # the store gives it one
        feed=feed,
        position=one.position,
        kind=one.kind,
        detail=one.detail,
        was=one.was,
        now=one.now,
        count=one.count,
        examples=one.examples,
        first_seen_at=one.first_seen_at,
        last_seen_at=one.last_seen_at,
    )


def _details(feed: FeedKey, *, position: str, kind: str) -> tuple[tuple[str, str], ...]:
    return (*zip(FeedKey._fields, feed, strict=True), ("position", position), ("kind", kind))


def _knowledge(body: bytes) -> Knowledge:
    return from_json(orjson.loads(body)) if body else Knowledge()


def _body(known: Knowledge) -> bytes:
    return canonical_bytes(to_json(known))
