"""Acknowledgements: the general ACK message, in original mode.

What is echoed is echoed byte for byte, between the sender's own delimiters, so it needs no
escaping; what we say ourselves is escaped. Source: HL7 v2.9 sections 2.9.2 and 2.13.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal

from chartgate.formats.hl7v2 import ABSENT, Header, escape

AckCode = Literal["AA", "AE", "AR"]

# HL7 table 0357, the part that is used here.
REQUIRED_MISSING = "101"
DATA_TYPE = "102"
UNSUPPORTED_TYPE = "200"
UNSUPPORTED_PROCESSING_ID = "202"
UNSUPPORTED_VERSION = "203"
DUPLICATE_KEY = "205"
INTERNAL = "207"


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """What is wrong: a code of table 0357, a sentence without patient data, and where."""

    code: str
    sentence: str
    position: str = ""  # "MSH-10"


def acknowledge(
    header: Header, code: AckCode, *, control_id: str, at: datetime, complaint: Complaint | None
) -> bytes:
    """The ACK of the message with this header; `control_id` is the ACK's own MSH-10.

    AA: taken. AE: wrong content, to be mended before it is sent again. AR: refused for what the
    message is, or for a trouble of ours; it may be sent again as it is.
    """
    marks = header.separators
    field, component = marks.field.encode(), marks.component.encode()
    trigger = header.field(9).split(component)[1:2]
    kind = component.join([b"ACK", *trigger, *([b"ACK"] if trigger else [])])
    msh = [
        b"MSH",
        marks.encoding.encode(),
        header.field(5),
        header.field(6),
        header.field(3),
        header.field(4),
        _stamp(at.replace(microsecond=0)),
        b"",
        kind,
        escape(control_id, marks).encode(),
        header.field(11) or b"P",
        header.field(12) or b"2.5",
        *([b""] * 5 + [header.field(18)] if header.field(18) else []),
    ]
    msa = [b"MSA", code.encode(), header.field(10)]
    lines = [field.join(msh), field.join(msa)]
    if complaint is not None:
        msa.append(escape(complaint.sentence, marks).encode())
        lines = [field.join(msh), field.join(msa), field.join(_error(header, complaint))]
    return b"\r".join(lines) + b"\r"


@lru_cache(maxsize=64)  # many are answered at one time
def _stamp(at: datetime) -> bytes:
    return at.strftime("%Y%m%d%H%M%S%z").encode()


def _error(header: Header, complaint: Complaint) -> list[bytes]:
    marks = header.separators
    component = "" if marks.component == ABSENT else marks.component
    segment, _, number = complaint.position.partition("-")
    place = component.join([segment, "1", number]) if number else segment
    named = component.join([complaint.code, "", "HL70357"])
    sentence = escape(complaint.sentence, marks)
    return [part.encode() for part in ("ERR", "", place, named, "E", "", "", "", sentence)]
