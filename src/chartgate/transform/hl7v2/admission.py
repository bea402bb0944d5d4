"""The check at the door: what the acknowledgement promises, and nothing more.

A message that is admitted can be read, named and put in its lane. What it says is looked at
later, by a worker, so that a strange value never holds up the feed.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

from chartgate.formats import hl7v2_ack as codes
from chartgate.formats.hl7v2 import Header, MalformedMessage, Message, parse, read_header
from chartgate.formats.hl7v2_ack import (
    Complaint,
    Conditions,
    Verdict,
    acknowledge,
    code_of,
    conditions_of,
    control_id_of,
)
from chartgate.model.message import Arrival, Received, Rejected, SequenceMark
from chartgate.transform.hl7v2.identity import lanes_of
from chartgate.transform.hl7v2.overrides import apply_overrides
from chartgate.transform.hl7v2.settings import FeedSettings

CONTROL_ID_MAX = 199  # characters of MSH-10, since version 2.7
SENDER_MAX = 600  # bytes of two HD, with room
OVERSIZE_KEPT_BYTES = 64 * 1024  # of a frame over the limit: enough to see whose it was
SEQUENCE_MAX = 2_000_000_000  # of MSH-13; then it starts at 1 again
SEQUENCE_MARKS = (0, -1)  # the link is opened, or is to be numbered anew
TYPE = re.compile(r"[A-Za-z0-9_]{1,20}")  # and of a trigger event; sites have made up their own
REPLIES = (b"ACK", b"MCF")


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The answer, empty where there is nobody to answer and None where none is asked for, and
    what the quarantine keeps."""

    answer: bytes | None
    rejected: Rejected


Admission = Arrival | SequenceMark | Refused


def admit(received: Received, settings: FeedSettings, at: datetime) -> Admission:
    """An arrival to store, with the ACK that may be sent once it is; or a refusal."""
    header = read_header(received.raw)
    if received.flaw:
        return _flawed(received, header, at)
    if header is None:
        return _refused(received, at, kind="header", sentence="there is no header that can be read")
    found = _complaint(header, settings)
    if found is not None:
        wrong, verdict = found
        return refuse(received, header, at, verdict, wrong, kind="header")
    try:
        message = parse(received.raw, charset_default=settings.charset, header=header)
        renames = settings.overrides.renames_patients
        if renames:
            apply_overrides(message, settings.overrides)
        lanes = lanes_of(message, received.connection, changed=renames)
        sender = f"{message.header.raw(3)}|{message.header.raw(4)}"
        sender.encode()
    except MalformedMessage as error:
        wrong = _wrong(codes.DATA_TYPE, str(error), error.position)
        return refuse(received, header, at, Verdict.WRONG, wrong, kind=error.kind)
    except UnicodeEncodeError:
        wrong = _wrong(codes.DATA_TYPE, "MSH holds what is no character", "")
        return refuse(received, header, at, Verdict.WRONG, wrong, kind="charset")
    if received.senders is not None and not _may_send(message, received.senders):
        sentence = "the certificate of this connection does not stand for this sender"
        wrong = _wrong(codes.INTERNAL, sentence, "MSH-3")
        return refuse(received, header, at, Verdict.REFUSED, wrong, kind="sender")
    if settings.sequence:
        return _numbered(received, header, message, sender, lanes, at)
    return _arrival(received, header, message, sender, lanes, at, None)


def storage_unavailable(received: Received, at: datetime) -> bytes:
    """AR: nothing is wrong with the message, and it may be sent again as it is. Where an error
    is not to be answered the connection is closed: silence would be taken for success."""
    header = read_header(received.raw)
    if header is None or (received.flaw and received.flaw != "too large"):
        return b""
    return say_unavailable(received.raw, header, at)


def say_unavailable(raw: bytes, header: Header, at: datetime) -> bytes:
    """As `storage_unavailable`, to this header."""
    trouble = Complaint(code=codes.INTERNAL, sentence="storage unavailable; send it again later")
    return _said(raw, header, Verdict.UNAVAILABLE, at, trouble) or b""


def collided(received: Received, at: datetime) -> Refused:
    """AE: this control id was used before, for another content."""
    wrong = Complaint(
        code=codes.DUPLICATE_KEY,
        sentence="the control id was used before for another content",
        position="MSH-10",
    )
    header = _header_of(received)
    return refuse(received, header, at, Verdict.WRONG, wrong, kind="control-id collision")


def out_of_sequence(received: Received, at: datetime, *, expected: int) -> Refused:
    """AE with the number that is awaited: nothing is taken until it comes, or a person resets
    the link."""
    wrong = Complaint(
        code=codes.SEQUENCE_ERROR,
        sentence=f"number {expected} is awaited; send that, or have the link reset",
        position="MSH-13",
    )
    header = _header_of(received)
    return refuse(received, header, at, Verdict.WRONG, wrong, kind="sequence", expected=expected)


def opened(received: Received, at: datetime, *, expected: int) -> bytes | None:
    """The answer to a message that opens a numbered link."""
    header = _header_of(received)
    return _said(received.raw, header, Verdict.TAKEN, at, None, expected=expected)


def refuse(
    received: Received,
    header: Header,
    at: datetime,
    verdict: Verdict,
    complaint: Complaint,
    *,
    kind: str,
    expected: int | None = None,
) -> Refused:
    """A message that is answered and kept in the quarantine as class `kind`."""
    return _refused(
        received,
        at,
        kind=kind,
        sentence=complaint.sentence,
        position=complaint.position,
        answer=_said(received.raw, header, verdict, at, complaint, expected=expected),
    )


def is_reply(header: Header, raw: bytes) -> bool:
    """Whether this is an acknowledgement or a response itself. It never gets an application's
    acknowledgement: the two sides would go on for ever."""
    if header.field(9)[:3] in REPLIES:
        return True
    start = raw.find(b"\rMSA") + 4
    return start > 3 and raw[start : start + 1] == header.separators.field.encode()


def _arrival(
    received: Received,
    header: Header,
    message: Message,
    sender: str,
    lanes: tuple[int, int | None],
    at: datetime,
    sequence: int | None,
) -> Arrival:
    conditions = conditions_of(header)
    replies = is_reply(header, received.raw)
    digest = sha256(received.raw).digest()
    ack = _answer(header, conditions, Verdict.TAKEN, digest, at, None, sequence, replies)
    return Arrival(
        connection=received.connection,
        sender=sender,
        control_id=message.header.raw(10),
        message_type=message.message_type[:40],
        lane=lanes[0],
        merged_lane=lanes[1],
        digest=digest,
        raw=received.raw,
        ack=ack or b"",
        received_at=at,
        application_ack=conditions.application if conditions and not replies else "",
        sequence=sequence,
    )


def _numbered(
    received: Received,
    header: Header,
    message: Message,
    sender: str,
    lanes: tuple[int, int | None],
    at: datetime,
) -> Admission:
    """As `_arrival`, on a feed that goes by MSH-13."""
    text = header.field(13).strip()
    digits = text.removeprefix(b"-")
    number = int(text) if digits.isdigit() and len(digits) <= 10 else SEQUENCE_MAX + 1
    if not SEQUENCE_MARKS[-1] <= number <= SEQUENCE_MAX:
        wrong = _wrong(codes.SEQUENCE_ERROR, "this feed needs a sequence number", "MSH-13")
        return refuse(received, header, at, Verdict.WRONG, wrong, kind="sequence")
    if number not in SEQUENCE_MARKS:
        return _arrival(received, header, message, sender, lanes, at, number)
    if any(segment.name not in ("MSH", "EVN") for segment in message.segments()):
        sentence = "a message that opens the sequence holds nothing else"
        wrong = _wrong(codes.SEQUENCE_ERROR, sentence, "MSH-13")
        return refuse(received, header, at, Verdict.WRONG, wrong, kind="sequence")
    return SequenceMark(connection=received.connection, sender=sender, number=number)


def _complaint(header: Header, settings: FeedSettings) -> tuple[Complaint, Verdict] | None:
    """What MSH lacks, or asks for that is not taken here, with the answer to it."""
    control_id, version = header.field(10), header.field(12)
    if not control_id:
        return _wrong(codes.REQUIRED_MISSING, "there is no control id", "MSH-10"), Verdict.REFUSED
    if len(control_id) > CONTROL_ID_MAX and _is_long(control_id):
        sentence = f"the control id is longer than {CONTROL_ID_MAX}"
        return _wrong(codes.DATA_TYPE, sentence, "MSH-10"), Verdict.WRONG
    if len(header.field(3)) + len(header.field(4)) > SENDER_MAX:
        return _wrong(codes.DATA_TYPE, "the sender's name is too long", "MSH-3"), Verdict.WRONG
    if header.fault:
        return _wrong(codes.DATA_TYPE, header.fault, "MSH-2"), Verdict.WRONG
    wrong = _type_complaint(header.field(9), header.separators.component, settings.triggers)
    if wrong is not None and not (settings.sequence and header.field(13) in (b"0", b"-1")):
        return wrong, Verdict.REFUSED
    if version and not version.startswith(b"2"):
        sentence = "only versions 2.x are taken"
        return _wrong(codes.UNSUPPORTED_VERSION, sentence, "MSH-12"), Verdict.REFUSED
    taken, processing_id = settings.processing_id.encode(), header.field(11)
    if taken and processing_id != taken and _first(header, 11) not in (b"", taken):
        sentence = f"only processing id {settings.processing_id} is taken here"
        return _wrong(codes.UNSUPPORTED_PROCESSING_ID, sentence, "MSH-11"), Verdict.REFUSED
    return None


@lru_cache(maxsize=1024)
def _type_complaint(
    message_type: bytes, component: str, triggers: tuple[str, ...]
) -> Complaint | None:
    """Whether MSH-9 names a type that is one and, where the feed names its triggers, one of
    those."""
    if not message_type:
        return _wrong(codes.REQUIRED_MISSING, "there is no message type", "MSH-9")
    kind, _, rest = message_type.decode("latin-1").partition(component)
    trigger = rest.partition(component)[0]
    if not TYPE.fullmatch(kind):
        return _wrong(codes.UNSUPPORTED_TYPE, "MSH-9 names no message type", "MSH-9")
    if trigger and not TYPE.fullmatch(trigger):
        return _wrong(codes.UNSUPPORTED_EVENT, "MSH-9 names no trigger event", "MSH-9")
    if triggers and kind not in triggers and f"{kind}^{trigger}" not in triggers:
        return _wrong(codes.UNSUPPORTED_EVENT, "this trigger is not taken here", "MSH-9")
    return None


def _is_long(control_id: bytes) -> bool:
    """In characters; bytes of no known character set count for themselves."""
    try:
        return len(control_id.decode()) > CONTROL_ID_MAX
    except UnicodeDecodeError:
        return True


def _may_send(message: Message, senders: frozenset[tuple[str, ...]]) -> bool:
    pair = (message.header.raw(3), message.header.raw(4))
    return pair in senders or (*pair, message.header.value(11) or "") in senders


def _header_of(received: Received) -> Header:
    header = read_header(received.raw)
    assert header is not None, "it was admitted"
    return header


def _wrong(code: str, sentence: str, position: str) -> Complaint:
    return Complaint(code=code, sentence=sentence, position=position)


def _first(header: Header, number: int) -> bytes:
    return header.field(number).split(header.separators.component.encode())[0]


def _flawed(received: Received, header: Header | None, at: datetime) -> Refused:
    kept = received
    if received.flaw == "too large":
        kept = Received(connection=received.connection, raw=received.raw[:OVERSIZE_KEPT_BYTES])
        if header is not None and header.field(10):
            wrong = _wrong(codes.DATA_TYPE, "the message is larger than is taken here", "")
            return refuse(kept, header, at, Verdict.REFUSED, wrong, kind="too large")
    sentences = {
        "too large": f"larger than is taken; its first {OVERSIZE_KEPT_BYTES} bytes are kept",
        "noise": "bytes that stand in no frame",
        "truncated": "the frame was not ended in time, or before the connection was",
    }
    return _refused(kept, at, kind=received.flaw, sentence=sentences[received.flaw])


def _refused(
    received: Received,
    at: datetime,
    *,
    kind: str,
    sentence: str,
    position: str = "",
    answer: bytes | None = b"",
) -> Refused:
    rejected = Rejected(
        connection=received.connection,
        inbox_id=None,
        reason_class=kind,
        reason=sentence,
        position=position,
        raw=received.raw,
        seen_at=at,
    )
    return Refused(answer=answer, rejected=rejected)


def _said(
    raw: bytes,
    header: Header,
    verdict: Verdict,
    at: datetime,
    complaint: Complaint | None,
    *,
    expected: int | None = None,
) -> bytes | None:
    digest, conditions = sha256(raw).digest(), conditions_of(header)
    replies = is_reply(header, raw)
    return _answer(header, conditions, verdict, digest, at, complaint, expected, replies)


def _answer(
    header: Header,
    conditions: Conditions | None,
    verdict: Verdict,
    digest: bytes,
    at: datetime,
    complaint: Complaint | None,
    expected: int | None,
    replies: bool,
) -> bytes | None:
    """What goes back on the same connection; None where nothing does."""
    if replies and conditions is None:
        return None
    code = code_of(conditions, verdict)
    if code is None:
        return None
    control_id = control_id_of(digest)
    return acknowledge(
        header, code, control_id=control_id, at=at, complaint=complaint, expected=expected
    )
