"""The sink: a write goes out as one message, and what the application answers tells what became
of it.

Nothing can be read at such a destination and no message has a precondition, so an answer is all
that there is: AA says that it was applied, AE, AR, CE and CR that it was not. Where no answer
comes, the same bytes may be sent again under the same control id only if the connection says that
its destination recognises them; else a person has to look.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import orjson

from chartgate.adapters.hl7v2_mllp.sender import Sender
from chartgate.errors import OutcomeUnknown, Throttled, WriteRefused
from chartgate.formats.hl7v2_ack import DUPLICATE_KEY
from chartgate.formats.hl7v2_answer import Answer, read_answer
from chartgate.model.ports import LastLook
from chartgate.model.resource import Copy, Resource
from chartgate.model.write import Change, Effect, Receipt, WireMessage, Write, marks_of

MARKER_SYSTEM = "urn:chartgate:proposal"
APPLIED = "AA"
REFUSALS = frozenset({"AE", "AR", "CE", "CR"})
LANES = 4  # connections that writes go out by; each sends one message at a time
LANE_WAIT_S = 5.0  # for those before us in a lane; shorter than a worker's lease


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """What the connection's options say of writes."""

    connection: str
    enhanced: bool = False
    recognises_duplicates: bool = False


class MessageSink:
    """Messenger: writes by messages to one destination."""

    def __init__(
        self, sender: Sender | None, agreed: Agreed, *, missing: str, clock: Callable[[], datetime]
    ) -> None:
        self._sender = sender
        self._agreed = agreed
        self._missing = missing
        self._clock = clock
        self._lanes = {f"write-{number}": asyncio.Lock() for number in range(LANES)}

    async def commit(self, write: Write, *, last_look: LastLook | None = None) -> Receipt:
        """As Sink.commit."""
        message = self._message(write)
        answer = await self._ask(write, message, last_look)
        if answer.code in REFUSALS and answer.trouble != DUPLICATE_KEY:
            raise WriteRefused(self._refusal(message, answer))
        return self._receipt(write, message, answer, resolved=False)

    async def resolve(self, write: Write) -> Receipt | None:
        """As Sink.resolve, which this never can."""
        raise OutcomeUnknown(f"nothing can be read at {self._agreed.connection}")

    async def settle(self, write: Write, *, last_look: LastLook) -> Receipt | None:
        """As Messenger.settle."""
        message = self._message(write)
        if not self._agreed.recognises_duplicates:
            raise OutcomeUnknown(
                f"{self._agreed.connection} does not say that it recognises what it was sent"
                " before, so nothing is sent again"
            )
        answer = await self._ask(write, message, last_look)
        if answer.code in REFUSALS and answer.trouble != DUPLICATE_KEY:
            return None
        return self._receipt(write, message, answer, resolved=True)

    async def compensation(self, write: Write, receipt: Receipt, before: Sequence[Copy]) -> Write:
        """As Sink.compensation: what was made is called off by our number of it, what was changed
        gets its values of before. The message of it is made when it is to be sent."""
        preimages = iter(before)
        changes = [
            _called_off(change, mark)
            if change.interaction == "create"
            else _restored(change, next(preimages))
            for change, mark in zip(write.changes, marks_of(write), strict=True)
        ]
        return Write(
            marker=f"{write.marker}.rollback",
            changes=tuple(reversed(changes)),
            through=write.through,
        )

    def differences(
        self, write: Write, receipt: Receipt, after: Sequence[Copy], before: Sequence[Copy] = ()
    ) -> list[str]:
        """As Sink.differences, by what the application said."""
        if receipt.said == APPLIED and len(receipt.effects) == len(write.changes):
            return []
        kind = write.message.kind if write.message else "the message"
        return [f"all of {kind}: its application did not confirm it"]

    def _message(self, write: Write) -> WireMessage:
        """Raises WriteRefused."""
        if self._sender is None:
            raise WriteRefused(f"nothing was sent: {self._missing}")
        if write.message is None:
            raise WriteRefused(
                f"{self._agreed.connection} takes messages, and none was made of the write"
            )
        return write.message

    async def _ask(self, write: Write, message: WireMessage, look: LastLook | None) -> Answer:
        """Sends it and reads the answer. Raises Throttled, and as `Transmitter.send`."""
        assert self._sender is not None, "asked before"
        lane = _lane(write)
        lock = self._lanes[lane]
        try:
            async with asyncio.timeout(LANE_WAIT_S):
                await lock.acquire()
        except TimeoutError:
            raise Throttled(f"{self._agreed.connection} is busy; nothing was sent") from None
        try:
            send = self._sender.send_for_both if self._agreed.enhanced else self._send_for_one
            _, last = await send(
                message.raw, control_id=message.control_id, lane=lane, last_look=look
            )
        finally:
            lock.release()
        answer = read_answer(last)
        assert answer is not None, "the sender gives nothing else"
        return answer

    async def _send_for_one(
        self, raw: bytes, *, control_id: str, lane: str, last_look: LastLook | None = None
    ) -> tuple[bytes, bytes]:
        assert self._sender is not None, "asked before"
        answer = await self._sender.send(raw, control_id=control_id, lane=lane, last_look=last_look)
        return answer, answer

    def _receipt(
        self, write: Write, message: WireMessage, answer: Answer, *, resolved: bool
    ) -> Receipt:
        """Raises OutcomeUnknown for an answer that does not say that it was applied."""
        if answer.code != APPLIED:
            said = answer.code if answer.code in (*REFUSALS, "CA") else "something that is no code"
            raise OutcomeUnknown(
                f"{self._agreed.connection} answered {message.kind} with {said}"
                f"{_about(answer)}, which does not say whether it was applied"
            )
        effects = tuple(
            Effect(
                reference=change.reference or _conditional(change, mark),
                version_before=change.if_match,
                version_after=None if change.interaction == "delete" else message.control_id,
            )
            for change, mark in zip(write.changes, marks_of(write), strict=True)
        )
        return Receipt(effects=effects, at=self._clock(), resolved=resolved, said=APPLIED)

    def _refusal(self, message: WireMessage, answer: Answer) -> str:
        return (
            f"{self._agreed.connection} refused {message.kind} with {answer.code}{_about(answer)};"
            " nothing was written"
        )


def _about(answer: Answer) -> str:
    """The code of table 0357: no other word of an answer is repeated, it may name the patient."""
    return f" ({answer.trouble})" if answer.trouble else ""


def _lane(write: Write) -> str:
    """An undoing goes by the lane of what it undoes."""
    whose = write.marker.removesuffix(".rollback").encode()
    return f"write-{sha256(whose).digest()[0] % LANES}"


def _conditional(change: Change, mark: str) -> str:
    """How FHIR refers to what bears our mark and whose id is not known."""
    held = _marked(change.resource or {}, mark)["identifier"]
    [ours] = [i["value"] for i in held if i.get("system") == MARKER_SYSTEM]
    return f"{change.resource_type}?identifier={MARKER_SYSTEM}|{ours}"


def _marked(resource: Resource, mark: str) -> Resource:
    """With our number, unless it bears one already."""
    held = resource.get("identifier", [])
    identifiers = held if isinstance(held, list) else [held]
    if any(i.get("system") == MARKER_SYSTEM for i in identifiers):
        return {**resource, "identifier": identifiers}
    return {**resource, "identifier": [*identifiers, {"system": MARKER_SYSTEM, "value": mark}]}


def _called_off(change: Change, mark: str) -> Change:
    assert change.resource is not None, "a create has one"
    return Change(
        interaction="delete",
        resource_type=change.resource_type,
        resource=_marked(change.resource, mark),
    )


def _restored(change: Change, before: Copy) -> Change:
    return Change(
        interaction="update",
        resource_type=change.resource_type,
        reference=before.reference,
        resource=orjson.loads(before.body),
    )
