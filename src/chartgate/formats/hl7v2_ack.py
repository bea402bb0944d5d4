"""Acknowledgements: the general ACK message, in original and in enhanced mode.

What is echoed is echoed byte for byte, between the sender's own delimiters, so it needs no
escaping; what we say ourselves is escaped. Source: HL7 v2.9 sections 2.9.2, 2.9.3 and 2.13.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from chartgate.formats.hl7v2 import ABSENT, NULL, Header, Separators, escape

AckCode = Literal["AA", "AE", "AR", "CA", "CE", "CR"]
ApplicationCode = Literal["AA", "AE", "AR"]

CONTROL_ID_OF_ACK = 20  # hex digits

# HL7 table 0357, the part that is used here.
SEQUENCE_ERROR = "100"  # of segments in the table; the nearest to one of messages
REQUIRED_MISSING = "101"
DATA_TYPE = "102"
UNSUPPORTED_TYPE = "200"
UNSUPPORTED_EVENT = "201"
UNSUPPORTED_PROCESSING_ID = "202"
UNSUPPORTED_VERSION = "203"
DUPLICATE_KEY = "205"
INTERNAL = "207"

# HL7 table 0155: when an acknowledgement is asked for.
ALWAYS, NEVER, ON_ERROR, ON_SUCCESS = "AL", "NE", "ER", "SU"


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """What is wrong: a code of table 0357, a sentence without patient data, and where."""

    code: str
    sentence: str
    position: str = ""  # "MSH-10"


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a message in enhanced mode asks for its two acknowledgements."""

    accept: str  # MSH-15
    application: str  # MSH-16


class Verdict(Enum):
    """What is said to a message: the code in original mode, and in enhanced mode."""

    TAKEN = ("AA", "CA")  # durable
    WRONG = ("AE", "CE")  # content, to be mended before it is sent again
    REFUSED = ("AR", "CR")  # for what the message is: MSH-9, 10, 11, 12, its sender, its size
    UNAVAILABLE = ("AR", "CE")  # a trouble of ours; it may be sent again as it is

    def __init__(self, original: AckCode, commit: AckCode) -> None:
        self.original = original
        self.commit = commit


def conditions_of(header: Header) -> Conditions | None:
    """What MSH-15 and MSH-16 ask for; None where both are empty, which is original mode."""
    if len(header.fields) < 16:
        return None
    accept, application = header.field(15), header.field(16)
    return _conditions(accept, application) if accept or application else None


def is_wanted(condition: str, *, success: bool) -> bool:
    """Whether an acknowledgement is to be sent under a condition of table 0155; "" is never."""
    return condition == ALWAYS or condition == (ON_SUCCESS if success else ON_ERROR)


def code_of(conditions: Conditions | None, verdict: Verdict) -> AckCode | None:
    """The code of the answer on the same connection; None where none is asked for."""
    if conditions is None:
        return verdict.original
    wanted = is_wanted(conditions.accept, success=verdict is Verdict.TAKEN)
    return verdict.commit if wanted else None


def acknowledge(
    header: Header,
    code: AckCode,
    *,
    control_id: str,
    at: datetime,
    complaint: Complaint | None,
    expected: int | None = None,
) -> bytes:
    """The ACK of the message with this header; `control_id` is the ACK's own MSH-10, and
    `expected` its MSA-4 in the sequence number protocol."""
    return _written(header, _header_of(header, control_id, at), code, complaint, expected)


def application_ack(
    header: Header,
    code: ApplicationCode,
    *,
    digest: bytes,
    at: datetime,
    complaint: Complaint | None = None,
) -> bytes:
    """The second acknowledgement of enhanced mode: a message of its own, sent after processing.

    Its control id follows from the `digest` of the message that it answers, so that it is the
    same however often it is made. It asks to be acknowledged on its arrival (MSH-15) and never
    by an application, else two systems could go on answering one another for ever.
    """
    control_id = control_id_of(sha256(b"application acknowledgement" + digest).digest())
    msh = _header_of(header, control_id, at)
    msh += [b""] * (18 - len(msh))
    msh[14:16] = [ALWAYS.encode(), NEVER.encode()]
    while not msh[-1]:
        msh.pop()
    return _written(header, msh, code, complaint, None)


def control_id_of(digest: bytes) -> str:
    """An ACK's own MSH-10: it follows from the message, so that a repeat gets the same answer."""
    return digest.hex()[:CONTROL_ID_OF_ACK].upper()


@lru_cache(maxsize=256)
def _conditions(accept: bytes, application: bytes) -> Conditions | None:
    found = [_condition(accept), _condition(application)]
    return Conditions(*(one or NEVER for one in found)) if any(found) else None


def _condition(value: bytes) -> str:
    """What is in no table asks for something that we do not know: it is better answered."""
    text = value.decode("latin-1").strip().upper()
    if text in ("", NULL):
        return ""
    return text if text in (ALWAYS, NEVER, ON_ERROR, ON_SUCCESS) else ALWAYS


def _header_of(header: Header, control_id: str, at: datetime) -> list[bytes]:
    """MSH of what goes back; index n is field n + 1."""
    marks = header.separators
    encoding, kind = _encoding_and_kind(marks, header.field(9))
    own = control_id if control_id.isalnum() else escape(control_id, marks)
    return [
        b"MSH",
        encoding,
        header.field(5),
        header.field(6),
        header.field(3),
        header.field(4),
        _stamp(at.replace(microsecond=0)),
        b"",
        kind,
        own.encode(),
        header.field(11) or b"P",
        header.field(12) or b"2.5",
        *([b""] * 5 + [header.field(18)] if header.field(18) else []),
    ]


@lru_cache(maxsize=1024)
def _encoding_and_kind(marks: Separators, message_type: bytes) -> tuple[bytes, bytes]:
    """MSH-2 and MSH-9 of an ACK to this type."""
    component = marks.component.encode()
    trigger = message_type.split(component)[1:2]
    kind = component.join([b"ACK", *trigger, *([b"ACK"] if trigger else [])])
    return marks.encoding.encode(), kind


def _written(
    header: Header,
    msh: list[bytes],
    code: AckCode,
    complaint: Complaint | None,
    expected: int | None,
) -> bytes:
    marks = header.separators
    field = marks.field.encode()
    msa = [b"MSA", code.encode(), header.field(10)]
    lines = [field.join(msh), field.join(msa)]
    if complaint is not None or expected is not None:
        msa.append(escape(complaint.sentence, marks).encode() if complaint else b"")
        if expected is not None:
            msa.append(b"%d" % expected)
        lines[1] = field.join(msa)
    if complaint is not None:
        lines.append(field.join(_error(complaint, header)))
    content = b"\r".join(lines) + b"\r"
    if b"\x1c\r" in content:  # what is echoed would end our frame
        content = content.replace(b"\x1c\r", b"\x1c" + field + b"\r")
    return content


@lru_cache(maxsize=64)  # many are answered at one time
def _stamp(at: datetime) -> bytes:
    return at.strftime("%Y%m%d%H%M%S%z").encode()


def _error(complaint: Complaint, header: Header) -> list[bytes]:
    marks = header.separators
    component = "" if marks.component == ABSENT else marks.component
    segment, _, number = complaint.position.partition("-")
    place = component.join([segment, "1", number]) if number else segment
    named = component.join([complaint.code, "", "HL70357"])
    sentence = escape(complaint.sentence, marks)
    return [part.encode() for part in ("ERR", "", place, named, "E", "", "", "", sentence)]
