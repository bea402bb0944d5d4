"""The check at the door: what the acknowledgement promises, and nothing more.

A message that is admitted can be read, named and put in its lane. What it says is looked at
later, by a worker, so that a strange value never holds up the feed.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from chartgate.formats import hl7v2_ack as codes
from chartgate.formats.hl7v2 import Header, MalformedMessage, parse, read_header
from chartgate.formats.hl7v2_ack import AckCode, Complaint, acknowledge
from chartgate.model.message import Arrival, Received, Rejected
from chartgate.transform.hl7v2.identity import lanes_of
from chartgate.transform.hl7v2.settings import FeedSettings

CONTROL_ID_MAX = 199  # ST of MSH-10, since version 2.7
SENDER_MAX = 600  # two HD, with room
OVERSIZE_KEPT_BYTES = 64 * 1024  # of a frame over the limit: enough to see whose it was
CONTROL_ID_OF_ACK = 20  # hex digits


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The answer, empty where there is nobody to answer, and what the quarantine keeps."""

    answer: bytes
    rejected: Rejected


def admit(received: Received, settings: FeedSettings, at: datetime) -> Arrival | Refused:
    """An arrival to store, with the ACK that may be sent once it is; or a refusal."""
    header = read_header(received.raw)
    if received.flaw:
        return _flawed(received, header, at)
    if header is None:
        return _refused(received, at, kind="header", sentence="there is no header that can be read")
    complaint = _complaint(header, settings)
    if complaint is not None:
        wrong, code = complaint
        return _complained(received, header, at, code, wrong, kind="header")
    try:
        message = parse(received.raw, charset_default=settings.charset, header=header)
        lane, merged_lane = lanes_of(message, received.connection)
        sender = f"{message.header.raw(3)}|{message.header.raw(4)}"
        control_id = message.header.raw(10)
        sender.encode()
    except MalformedMessage as error:
        wrong = Complaint(code=codes.DATA_TYPE, sentence=str(error), position=error.position)
        return _complained(received, header, at, "AE", wrong, kind=error.kind)
    except UnicodeEncodeError:
        wrong = Complaint(code=codes.DATA_TYPE, sentence="MSH holds what is no character")
        return _complained(received, header, at, "AE", wrong, kind="charset")
    digest = hashlib.sha256(received.raw).digest()
    return Arrival(
        connection=received.connection,
        sender=sender,
        control_id=control_id,
        message_type=message.message_type[:40],
        lane=lane,
        merged_lane=merged_lane,
        digest=digest,
        raw=received.raw,
        ack=_ack(header, "AA", digest, at, None),
        received_at=at,
    )


def storage_unavailable(received: Received, at: datetime) -> bytes:
    """AR: nothing is wrong with the message, and it may be sent again as it is."""
    header = read_header(received.raw)
    if header is None:
        return b""
    digest = hashlib.sha256(received.raw).digest()
    trouble = Complaint(code=codes.INTERNAL, sentence="storage unavailable; send it again later")
    return _ack(header, "AR", digest, at, trouble)


def collided(received: Received, at: datetime) -> Refused:
    """AE: this control id was used before, for another content."""
    header = read_header(received.raw)
    assert header is not None, "it was admitted"
    wrong = Complaint(
        code=codes.DUPLICATE_KEY,
        sentence="the control id was used before for another content",
        position="MSH-10",
    )
    return _complained(received, header, at, "AE", wrong, kind="control-id collision")


def _complaint(header: Header, settings: FeedSettings) -> tuple[Complaint, AckCode] | None:
    """What MSH lacks, or asks for that is not taken here, with the answer to it."""
    control_id, version, processing_id = header.field(10), header.field(12), _first(header, 11)
    if not control_id:
        return _wrong(codes.REQUIRED_MISSING, "there is no control id", "MSH-10"), "AR"
    if len(control_id) > CONTROL_ID_MAX:
        sentence = f"the control id is longer than {CONTROL_ID_MAX}"
        return _wrong(codes.DATA_TYPE, sentence, "MSH-10"), "AE"
    if len(header.field(3)) + len(header.field(4)) > SENDER_MAX:
        return _wrong(codes.DATA_TYPE, "the sender's name is too long", "MSH-3"), "AE"
    if header.fault:
        return _wrong(codes.DATA_TYPE, header.fault, "MSH-2"), "AE"
    if not header.field(9):
        return _wrong(codes.REQUIRED_MISSING, "there is no message type", "MSH-9"), "AR"
    if version and not version.startswith(b"2"):
        return _wrong(codes.UNSUPPORTED_VERSION, "only versions 2.x are taken", "MSH-12"), "AR"
    taken = settings.processing_id
    if taken and processing_id and processing_id != taken.encode():
        sentence = f"only processing id {taken} is taken here"
        return _wrong(codes.UNSUPPORTED_PROCESSING_ID, sentence, "MSH-11"), "AR"
    return None


def _wrong(code: str, sentence: str, position: str) -> Complaint:
    return Complaint(code=code, sentence=sentence, position=position)


def _first(header: Header, number: int) -> bytes:
    return header.field(number).split(header.separators.component.encode())[0]


def _flawed(received: Received, header: Header | None, at: datetime) -> Refused:
    if received.flaw == "too large" and header is not None and header.field(10):
        wrong = Complaint(code=codes.DATA_TYPE, sentence="the message is larger than is taken here")
        part = Received(connection=received.connection, raw=received.raw[:OVERSIZE_KEPT_BYTES])
        return _complained(part, header, at, "AR", wrong, kind="too large")
    sentences = {
        "too large": f"larger than is taken; its first {OVERSIZE_KEPT_BYTES} bytes are kept",
        "noise": "bytes that stand in no frame",
        "truncated": "the frame was not ended in time, or before the connection was",
    }
    kept = Received(connection=received.connection, raw=received.raw[:OVERSIZE_KEPT_BYTES])
    return _refused(
        kept if received.flaw == "too large" else received,
        at,
        kind=received.flaw,
        sentence=sentences[received.flaw],
    )


def _refused(
    received: Received,
    at: datetime,
    *,
    kind: str,
    sentence: str,
    position: str = "",
    answer: bytes = b"",
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


def _complained(
    received: Received,
    header: Header,
    at: datetime,
    code: AckCode,
    complaint: Complaint,
    *,
    kind: str,
) -> Refused:
    digest = hashlib.sha256(received.raw).digest()
    return _refused(
        received,
        at,
        kind=kind,
        sentence=complaint.sentence,
        position=complaint.position,
        answer=_ack(header, code, digest, at, complaint),
    )


def _ack(
    header: Header, code: AckCode, digest: bytes, at: datetime, complaint: Complaint | None
) -> bytes:
    # The ACK's own id follows from the message, so that a repeat gets the same answer.
    control_id = digest.hex()[:CONTROL_ID_OF_ACK].upper()
    return acknowledge(header, code, control_id=control_id, at=at, complaint=complaint)
