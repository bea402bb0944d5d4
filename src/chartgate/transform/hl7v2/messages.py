"""What each trigger event means: which resources a message is about, and what it does to them.

Pure and deterministic: the same bytes and settings give the same drafts, wherever and whenever.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from chartgate.formats.hl7v2 import Message
from chartgate.formats.hl7v2_time import moment, span
from chartgate.model.resource import Resource
from chartgate.transform.hl7v2.administrations import ADMINISTRATION_MESSAGES
from chartgate.transform.hl7v2.appointments import make_appointment
from chartgate.transform.hl7v2.charges import CHARGE_MESSAGES
from chartgate.transform.hl7v2.datatypes import Context, Unmappable
from chartgate.transform.hl7v2.documents import DOCUMENT_MESSAGES
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import groups
from chartgate.transform.hl7v2.immunizations import IMMUNIZATION_MESSAGES
from chartgate.transform.hl7v2.medications import MEDICATION_MESSAGES, MIXED_MESSAGES
from chartgate.transform.hl7v2.merges import MERGE_MESSAGES
from chartgate.transform.hl7v2.observations import make_own_observations
from chartgate.transform.hl7v2.orders import ORDER_MESSAGES
from chartgate.transform.hl7v2.overrides import apply_overrides
from chartgate.transform.hl7v2.patients import delete_patient, make_patient
from chartgate.transform.hl7v2.problems import PROBLEM_MESSAGES
from chartgate.transform.hl7v2.provenance import make_provenance
from chartgate.transform.hl7v2.results import RESULT_MESSAGES
from chartgate.transform.hl7v2.settings import FeedSettings
from chartgate.transform.hl7v2.surroundings import make_rest
from chartgate.transform.hl7v2.visits import cancelled_visit, make_encounter
from chartgate.transform.hl7v2.work import Work

OFFSET = re.compile(r"[+-]\d{4}$")
WITHOUT_TIMES = ("proposed", "cancelled", "waitlist")  # FHIR invariant app-3


@dataclass(frozen=True, kw_only=True)
class Transformed:
    """What a message says."""

    drafts: tuple[Draft, ...]
    focus: tuple[str, ...]  # references, the main one first
    patient: str | None
    occurred_at: datetime | None  # by the message; None if it does not say
    sender: str  # MSH-3|MSH-4
    sent: tuple[datetime, datetime] | None  # MSH-7: from when until when it can mean


def transform(message: Message, settings: FeedSettings) -> Transformed:
    """What the message says. Its `message_type` must be in SUPPORTED.

    Raises Unmappable, or Excluded where a rule of the site keeps the message out of the record.
    """
    return _transformed(_worked(message, settings))


def transform_with_provenance(message: Message, settings: FeedSettings) -> Transformed:
    """As `transform`, with the Provenance of all that the message makes, last. The record keeps
    with each version what it takes to make this again, and not the resource."""
    work = _worked(message, settings)
    focus = _focus(work)
    make_provenance(work)
    return replace(_transformed(work), focus=focus)


def _worked(message: Message, settings: FeedSettings) -> Work:
    excluded = apply_overrides(message, settings.overrides)
    if excluded:
        raise Excluded(excluded)
    context = Context(settings.systems, settings.patient_system, zone_of(message, settings))
    work = Work(message=message, settings=settings, context=context)
    SUPPORTED[message.message_type](work)
    make_rest(work)
    _add_site_tables(work)
    return work


def _transformed(work: Work) -> Transformed:
    message = work.message
    return Transformed(
        drafts=tuple(work.drafts.values()),
        focus=_focus(work),
        patient=work.patient.reference if work.patient else None,
        occurred_at=occurred_at(message, work.context.zone),
        sender=f"{message.header.raw(3)}|{message.header.raw(4)}",
        sent=_sent(message, work.context.zone),
    )


class Excluded(Exception):
    """A site's filter, or a message that is about no patient; its text is the reason."""


def check_whole(resource: Resource) -> None:
    """What must hold once a draft lies over the record. Raises Unmappable."""
    if resource["resourceType"] != "Appointment":
        return
    if not resource.get("participant"):
        raise Unmappable("nobody takes part in the appointment", position="PID-3")
    timed = "start" in resource and "end" in resource
    if not timed and resource.get("status") not in WITHOUT_TIMES:
        raise Unmappable("the appointment has no start and end", position="SCH-11")


def occurred_at(message: Message, zone: tzinfo) -> datetime | None:
    """When it happened: EVN-2, else MSH-7; None where neither is a time."""
    for text in (message.value("EVN", 2), message.value("MSH", 7)):
        if text:
            try:
                return moment(text, zone=zone)
            except ValueError:
                continue
    return None


def _sent(message: Message, zone: tzinfo) -> tuple[datetime, datetime] | None:
    text = message.header.value(7)
    try:
        return span(text, zone=zone) if text else None
    except ValueError:
        return None


def zone_of(message: Message, settings: FeedSettings) -> tzinfo:
    """That of MSH-7 where it names one: a sender's other times are meant in it."""
    sent = message.header.raw(7)
    if OFFSET.search(sent):
        try:
            found = moment(sent.split(message.separators.component)[0], zone=settings.zone).tzinfo
        except ValueError:
            return settings.zone
        return found or settings.zone
    return settings.zone


def _focus(work: Work) -> tuple[str, ...]:
    """What an event tells of: the patient last, what the message was sent for first."""
    others = [d.reference for d in work.drafts.values() if d is not work.patient]
    return (*others, *([work.patient.reference] if work.patient else []))


def _add_site_tables(work: Work) -> None:
    """Z-segments and others that only this site maps: each goes to the resource of its table's
    type that was made last before it."""
    for name in work.settings.overrides.added:
        segment_name, _, resource_type = name.partition(".")
        drafts = [d for d in work.drafts.values() if d.resource_type == resource_type]
        for segment in work.segments(segment_name):
            before = [d for d in drafts if any(s.position < segment.position for s, _ in d.trace)]
            if before or drafts:
                work.apply(name, segment, (before or drafts)[-1])


def _visit(work: Work) -> None:
    """ADT about a person and, where one is named, a visit."""
    make_patient(work)
    make_encounter(work)
    make_own_observations(work, groups(work.message).before.observations)


def _cancelled(work: Work) -> None:
    """ADT that takes back what was said of a visit."""
    _visit(work)
    cancelled_visit(work)


def _booking(work: Work) -> None:
    """SIU: a booking, and its changes."""
    make_appointment(work)


def _about_no_patient(reason: str) -> Callable[[Work], None]:
    """Messages that are taken and leave nothing in the record."""

    def refuse(work: Work) -> None:
        raise Excluded(reason)

    return refuse


VISITS = (*range(1, 11), 12, 14, 15, 16, 21, 22, 25, 26, 28, 31, 32, 33, 54, 55, 60, 61, 62)
CANCELS = (11, 13, 23, 27, 38, 52, 53)
BOOKINGS = (*range(12, 23), 26, 27)

SUPPORTED: Mapping[str, Callable[[Work], None]] = {
    **{f"ADT^A{number:02}": _visit for number in VISITS},
    **{f"ADT^A{number:02}": _cancelled for number in CANCELS},
    "ADT^A29": delete_patient,
    "ADT^A20": _about_no_patient("the state of a bed is its directory's"),
    **MERGE_MESSAGES,
    **{f"SIU^S{number}": _booking for number in BOOKINGS},
    "SIU^S23": _about_no_patient("time that is blocked is a schedule's"),
    "SIU^S24": _about_no_patient("time that is opened again is a schedule's"),
    **ADMINISTRATION_MESSAGES,
    **CHARGE_MESSAGES,
    **DOCUMENT_MESSAGES,
    **IMMUNIZATION_MESSAGES,
    **MEDICATION_MESSAGES,
    **ORDER_MESSAGES,
    **MIXED_MESSAGES,
    **PROBLEM_MESSAGES,
    **RESULT_MESSAGES,
}
