"""Which patient, visit or appointment a message is about, and the ids that follow from that.

Ids depend on nothing but the connection and the message's own identifiers, so that the same
message always makes the same resources.
"""

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID, uuid5

from chartgate.formats.hl7v2 import NULL, Composite, Message, Segment
from chartgate.transform.hl7v2.settings import FeedSettings

LANES = 1024
IDS = UUID("8a9e3f0c-6f0e-5b57-9d0b-5d1f2c7c1a40")  # the namespace of our name-based ids
IDS_KEPT = 16_384  # of patients and visits that are spoken of now
FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, slots=True)
class Identity:
    """An identifier with the authority that assigned it; empty where none is named."""

    value: str
    authority: str

    @property
    def key(self) -> str:
        """One text for both. The authority cannot be mistaken for the value: it comes first,
        with its length."""
        return f"{len(self.authority)}:{self.authority}{self.value}"


def identity(cx: Composite, *, authority: int = 4) -> Identity | None:
    """The identity in a CX (or, with the component of its authority, an XCN or EI)."""
    value = cx.value(1)
    if value is None or value == NULL or not value.strip():
        return None
    return Identity(value.strip(), cx.value(authority, 2) or cx.value(authority, 1) or "")


def first_identity(segment: Segment | None, *fields: int) -> Identity | None:
    """The first valued identifier in these fields of the segment, in their order."""
    if segment is None:
        return None
    for field in fields:
        for cx in segment.repetitions(field):
            found = identity(cx)
            if found is not None:
                return found
    return None


def patient_identity(segment: Segment | None) -> Identity | None:
    """Who a PID is about: the first of PID-3, else PID-2."""
    return first_identity(segment, 3, 2)


def merged_identity(segment: Segment | None) -> Identity | None:
    """Who an MRG merges away: the first of MRG-1, else MRG-4."""
    return first_identity(segment, 1, 4)


def lanes_of(message: Message, connection: str, *, changed: bool = False) -> tuple[int, int | None]:
    """The lane of the message, and that of the patient merged away by it, or of a second one.

    Messages that share a lane are processed in the order in which they came, so each patient's
    are; a merge, a link and a swap hold both. One without a patient has its connection's lane. `changed`: a site's
    rules have moved fields, so the bytes no longer tell.
    """
    if changed:
        pids = message.segments("PID")[:2]
        first, mrg = message.segment("PID"), message.segment("MRG")
        second = pids[1] if len(pids) > 1 else None
    else:
        first, mrg = message.glimpse("PID"), message.glimpse("MRG")
        second = message.glimpse("PID", nth=2) if mrg is None else None
    patient = patient_identity(first)
    other = merged_identity(mrg) or patient_identity(second)
    lane = _lane(f"patient {patient.key}" if patient else f"connection {connection}")
    return lane, _lane(f"patient {other.key}") if other else None


def resource_id(settings: FeedSettings, resource_type: str, found: Identity) -> str:
    """The FHIR id: a name-based UUID, or the identifier itself where the feed is known to send
    the ids of its EHR."""
    if settings.ids_are_identifiers and FHIR_ID.fullmatch(found.value):
        return found.value
    return _uuid5(f"{settings.connection}|{resource_type}|{found.key}")


@lru_cache(maxsize=IDS_KEPT)
def _uuid5(name: str) -> str:
    return str(uuid5(IDS, name))


def _lane(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % LANES
