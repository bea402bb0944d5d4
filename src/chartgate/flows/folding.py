"""What messages come to, before anything is written: read, transformed, laid over the record.

No I/O: the same messages over the same record give the same versions, whether a worker processes
them as they come or a rebuild goes through all of them again.

Order. Messages of a patient are taken in the order in which they came. One that its own sender
dates (MSH-7) before what that sender last said of the same resource is late: it fills what nobody
has said yet, changes nothing else, and is flagged.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import orjson
import structlog

from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.formats.compartment import owner_of
from chartgate.formats.hl7v2 import MalformedMessage, Message, parse
from chartgate.formats.r4_structure import is_well_formed, structure_findings
from chartgate.model.message import Queued
from chartgate.model.resource import Copy, Resource
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import Draft, merged
from chartgate.transform.hl7v2.messages import (
    SUPPORTED,
    Excluded,
    Transformed,
    check_whole,
    transform,
)
from chartgate.transform.hl7v2.provenance import rows_text
from chartgate.transform.hl7v2.settings import FeedSettings

LOG = structlog.get_logger()
SAY_UNSUPPORTED = "trigger not supported"
SAY_ACKNOWLEDGEMENT = "an acknowledgement, which tells nothing of a patient"
ACKNOWLEDGEMENTS = ("ACK", "MCF")
LATE = "late"  # flag: older than what its sender said before
CHARSET = "charset"  # flag: the bytes are not of the character set that MSH-18 names


@dataclass(frozen=True, kw_only=True)
class Filtered:
    """A message that is kept, and stays out of the record for this reason."""

    reason: str
    answers: tuple[str, str] | None = None  # of an acknowledgement: MSA-2 and MSA-1


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A message that cannot become part of the record as it is."""

    reason_class: str
    reason: str
    position: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A message taken apart, and what it says."""

    message: Message
    said: Transformed
    revision: str  # of the tables
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Folded:
    """The versions that one message makes, and what is odd about it."""

    copies: tuple[Copy, ...]
    flags: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Held:
    """What the record holds of one connection: it moves on with each message."""

    resources: dict[str, Resource] = field(default_factory=dict)  # by reference
    digests: dict[str, bytes] = field(default_factory=dict)  # of their canonical bytes
    stamps: dict[str, dict[str, float]] = field(default_factory=dict)  # MSH-7 by sender
    as_of: dict[str, datetime] = field(default_factory=dict)  # when it was last said


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    resource: Resource
    body: bytes
    digest: bytes
    known: bool  # it is the one that is held


class _NotFhir(Exception):
    """What a resource lacks; names elements, never values."""


def read(
    queued: Queued, settings: FeedSettings, *, parsed: list[tuple[Queued, Message]] | None = None
) -> Reading | Filtered | Refusal:
    """What a message says; nothing that it holds can stop the caller. `parsed` gets the message
    as soon as it is taken apart, whatever becomes of it then."""
    kind = queued.message_type.partition("^")[0]
    if kind in ACKNOWLEDGEMENTS:
        return Filtered(reason=SAY_ACKNOWLEDGEMENT, answers=_answers(queued, settings))
    if queued.message_type not in SUPPORTED:
        return Filtered(reason=SAY_UNSUPPORTED)
    try:
        message = parse(queued.raw, charset_default=settings.charset)
        if parsed is not None:
            parsed.append((queued, message))
        said = transform(message, settings)
    except MalformedMessage as error:
        return Refusal(reason_class=error.kind, reason=str(error), position=error.position)
    except Unmappable as error:
        return Refusal(reason_class="content", reason=str(error), position=error.position)
    except Excluded as error:
        return Filtered(reason=str(error))
    except Exception as error:  # noqa: BLE001  one message must not stop those behind it
        return own_fault(queued, error)
    return Reading(
        message=message,
        said=said,
        revision=settings.tables.revision,
        flags=(CHARSET,) if message.charset_flag else (),
    )


def _answers(queued: Queued, settings: FeedSettings) -> tuple[str, str] | None:
    try:
        msa = parse(queued.raw, charset_default=settings.charset).segment("MSA")
    except MalformedMessage:
        return None
    control_id, code = (msa.value(2), msa.value(1)) if msa else (None, None)
    return (control_id, code) if control_id and code else None


def fold(queued: Queued, reading: Reading, held: Held) -> Folded | Refusal:
    """Lays what the message says over what is held; `held` moves on only if all of it fits."""
    said = reading.said
    try:
        late = {draft.reference for draft in said.drafts if _is_late(draft, said, held)}
        versions = [_version(draft, held, late=draft.reference in late) for draft in said.drafts]
    except Unmappable as error:
        return Refusal(reason_class="content", reason=str(error), position=error.position)
    except _NotFhir as error:
        return Refusal(reason_class="fhir", reason=str(error))
    except Exception as error:  # noqa: BLE001  as in read
        return own_fault(queued, error)
    copies = []
    for draft, version in zip(said.drafts, versions, strict=True):
        reference = draft.reference
        held.resources[reference] = version.resource
        held.digests[reference] = version.digest
        _stamp(held, reference, said)
        # A replayed message came before what is held: laid over it, it is still the newest.
        as_of = max(queued.received_at, held.as_of.get(reference, queued.received_at))
        held.as_of[reference] = as_of
        copies.append(
            Copy(
                reference=reference,
                version="",
                digest=version.digest,
                body=version.body,
                as_of=as_of,
                owner=owner_of(version.resource),
                stamps=stamps_text(held.stamps.get(reference)),
                message=queued.id,
                trace="" if version.known else f"{reading.revision} {rows_text(draft)}",
                known=version.known,
            )
        )
    return Folded(copies=tuple(copies), flags=(*reading.flags, *([LATE] if late else [])))


def _version(draft: Draft, held: Held, *, late: bool) -> _Version:
    """The draft over what is held; what the record knows already has been checked before."""
    resource = merged(held.resources.get(draft.reference), draft, late=late)
    check_whole(resource)
    body = canonical_bytes(resource)
    found = digest(body)
    known = held.digests.get(draft.reference) == found
    if not known and not is_well_formed(resource):
        raise _NotFhir(next(iter(structure_findings(resource)), "a resource is not valid FHIR R4"))
    return _Version(resource=resource, body=body, digest=found, known=known)


def wanted(readings: Iterable[Reading | Filtered | Refusal]) -> set[str]:
    """References whose current versions are needed to fold these."""
    return {
        draft.reference
        for reading in readings
        if isinstance(reading, Reading)
        for draft in reading.said.drafts
    }


def own_fault(queued: Queued, error: Exception) -> Refusal:
    """A fault of ours: its text may hold what the message holds, so only its kind is kept."""
    LOG.error("feed.own_fault", message=queued.id, error=type(error).__name__)
    return Refusal(reason_class="internal", reason=f"our own fault ({type(error).__name__})")


def stamps_text(stamps: dict[str, float] | None) -> str:
    """Stamps as the record keeps them."""
    return orjson.dumps(stamps, option=orjson.OPT_SORT_KEYS).decode() if stamps else ""


def held_of(copies: Iterable[Copy]) -> Held:
    """What these current copies hold."""
    held = Held()
    for copy in copies:
        held.resources[copy.reference] = orjson.loads(copy.body)
        held.digests[copy.reference] = copy.digest
        held.as_of[copy.reference] = copy.as_of
        if copy.stamps:
            held.stamps[copy.reference] = orjson.loads(copy.stamps)
    return held


def _is_late(draft: Draft, said: Transformed, held: Held) -> bool:
    if said.sent is None:
        return False
    stamp = held.stamps.get(draft.reference, {}).get(said.sender)
    return stamp is not None and said.sent[1].timestamp() < stamp


def _stamp(held: Held, reference: str, said: Transformed) -> None:
    if said.sent is not None:
        stamps = held.stamps.setdefault(reference, {})
        stamps[said.sender] = max(stamps.get(said.sender, 0.0), said.sent[0].timestamp())
