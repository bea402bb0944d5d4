"""Intake: a hospital's message becomes durable, and only then is it acknowledged.

accept: check at the door → inbox, many in one commit → only then the ACKs. What becomes of the
message is in `events.py`.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

import structlog

from chartgate.errors import ConfigError, Unavailable
from chartgate.flows.feeds import settings_for
from chartgate.formats.canonical import digest
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.message import Arrival, Expected, Received, SequenceMark, Stored
from chartgate.model.ports import Feed, NotTaken
from chartgate.store.inbox import InboxStore
from chartgate.store.quarantine import QuarantineStore
from chartgate.store.sequences import SequenceStore
from chartgate.transform.hl7v2.admission import (
    Admission,
    Refused,
    admit,
    collided,
    opened,
    out_of_sequence,
    storage_unavailable,
)
from chartgate.transform.hl7v2.batches import (
    AdmittedBatch,
    admit_batch,
    answer_batch,
    batch_unavailable,
    is_whole_batch,
)
from chartgate.transform.hl7v2.settings import FeedSettings

LOG = structlog.get_logger()
LISTENER = "process:listener"

Admitted = tuple[Received, Admission]


async def listen(
    gate: Gate, feeds: Mapping[str, Feed], *, ready: Callable[[str, int], None]
) -> None:
    """Serves all feeds until cancelled; `ready` is told each connection and its port.

    Raises ConfigError where one of them cannot.
    """
    for name in feeds:
        settings_for(gate, name)  # a mistake stops here, not at each message
    try:
        async with asyncio.TaskGroup() as tasks:
            for name, feed in feeds.items():
                tasks.create_task(
                    feed.listen(MessageIntake(gate), gate.config.mllp, ready=partial(ready, name))
                )
    except* ConfigError as group:
        raise group.exceptions[0] from None


class MessageIntake:
    """Intake: the check at the door as each message comes, then many in one commit."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._settings: dict[str, FeedSettings] = {}

    def admit(self, received: Received) -> Admitted | AdmittedBatch:
        """Raises ConfigError where the feed's options are wrong."""
        name = received.connection
        settings = self._settings.get(name)
        if settings is None:
            settings = settings_for(self._gate, name)
            self._settings[name] = settings
        at = self._gate.clock()
        if not received.raw.startswith(b"MSH") and is_whole_batch(received):
            found = admit_batch(received, settings, at)
            return (received, found) if isinstance(found, Refused) else found
        return received, admit(received, settings, at)

    async def commit(self, batch: Sequence[Admitted | AdmittedBatch]) -> list[bytes | None]:
        """A positive answer only for what is committed, or was before; b"" where there is nobody
        to answer, None where no answer is asked for. Raises NotTaken where the store is gone: every
        answer is then to send it again later."""
        at = self._gate.clock()
        messages = [
            message
            for one in batch
            for message in (one.parts if isinstance(one, AdmittedBatch) else (one,))
        ]
        try:
            settled = await self._settled(messages, at)
            refused = [one for one in settled if isinstance(one, Refused)]
            if refused:
                await QuarantineStore(self._gate.database).add(
                    [r.rejected for r in refused], *map(_rejection, refused)
                )
        except Unavailable:
            LOG.error("intake.storage_unavailable", messages=len(messages))
            answers_now = [
                batch_unavailable(one, at)
                if isinstance(one, AdmittedBatch)
                else storage_unavailable(one[0], at)
                for one in batch
            ]
            raise NotTaken(answers_now) from None
        answers = iter([one.answer if isinstance(one, Refused) else one for one in settled])
        return [
            answer_batch(one, answers, at) if isinstance(one, AdmittedBatch) else next(answers)
            for one in batch
        ]

    async def _settled(
        self, batch: Sequence[Admitted], at: datetime
    ) -> list[bytes | Refused | None]:
        """What is durable now with its answer; what is refused is not kept yet."""
        plain: list[Arrival] = []
        numbered: list[Arrival | SequenceMark] = []
        for _, one in batch:
            if isinstance(one, Arrival) and one.sequence is None:
                plain.append(one)
            elif not isinstance(one, Refused):
                numbered.append(one)
        accepted = AuditEvent(recorded=at, action="message.accept", agent=LISTENER)
        stored = iter(await InboxStore(self._gate.database).accept(plain, accepted))
        said: Iterator[Stored | Expected] = iter(())
        if numbered:
            moved = AuditEvent(recorded=at, action="feed.sequence", agent=LISTENER)
            said = iter(await SequenceStore(self._gate.database).accept(numbered, accepted, moved))
        return [
            one if isinstance(one, Refused) else _answered(received, one, stored, said, at)
            for received, one in batch
        ]


async def accept(gate: Gate, batch: Sequence[Received]) -> list[bytes | None]:
    """Both steps of `MessageIntake` at once: durable, then the answers, in order."""
    intake = MessageIntake(gate)
    try:
        return await intake.commit([intake.admit(received) for received in batch])
    except NotTaken as refused:
        return list(refused.answers)


def _answered(
    received: Received,
    one: Arrival | SequenceMark,
    stored: Iterator[Stored],
    said: Iterator[Stored | Expected],
    at: datetime,
) -> bytes | Refused | None:
    """The answer that may be sent: the stored one, unless it was for another content."""
    became = next(stored) if isinstance(one, Arrival) and one.sequence is None else next(said)
    if isinstance(one, SequenceMark):
        assert isinstance(became, Expected), "a mark is never stored"
        return opened(received, at, expected=became.number)
    if isinstance(became, Expected):
        return out_of_sequence(received, at, expected=became.number)
    return (became.ack or None) if became.digest == one.digest else collided(received, at)


def _rejection(refused: Refused) -> AuditEvent:
    rejected = refused.rejected
    details = [("class", rejected.reason_class), ("digest", digest(rejected.raw).hex())]
    return AuditEvent(
        recorded=rejected.seen_at,
        action="message.quarantine",
        agent=LISTENER,
        outcome=Outcome.FAILED,
        reason=rejected.reason,
        details=tuple(details),
    )
