"""Batches at the door: each message of a batch is admitted or refused for itself, and the answers
go back as a batch. One whose envelope does not add up is refused whole: messages may be missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from itertools import islice

from chartgate.formats import hl7v2_ack as codes
from chartgate.formats.hl7v2 import Header
from chartgate.formats.hl7v2_ack import Complaint, Verdict, control_id_of
from chartgate.formats.hl7v2_batch import BatchFile, acknowledge_batch, is_batch, split_batch
from chartgate.formats.hl7v2_delimiters import Separators
from chartgate.model.message import Received
from chartgate.transform.hl7v2.admission import (
    OVERSIZE_KEPT_BYTES,
    Admission,
    Refused,
    admit,
    refuse,
    say_unavailable,
)
from chartgate.transform.hl7v2.settings import FeedSettings

MESSAGES_MAX = 5_000  # of one frame: they are looked at before anybody else's next message


@dataclass(frozen=True, kw_only=True, slots=True)
class AdmittedBatch:
    """A batch that adds up, with what became of each of its messages."""

    received: Received
    file: BatchFile
    parts: tuple[tuple[Received, Admission], ...]


def is_whole_batch(received: Received) -> bool:
    """Whether this is a batch of which all is there, or more than is taken."""
    return received.flaw in ("", "too large") and is_batch(received.raw)


def admit_batch(
    received: Received, settings: FeedSettings, at: datetime
) -> AdmittedBatch | Refused:
    """Of bytes for which `is_whole_batch` holds."""
    if received.flaw == "too large":
        kept = replace(received, raw=received.raw[:OVERSIZE_KEPT_BYTES])
        sentence = "the batch is larger than is taken here"
        return _refuse(kept, at, Verdict.REFUSED, sentence, kind="too large")
    file = split_batch(received.raw)
    messages = file.messages
    sentence = file.refusal or ("" if messages else "there is no message in the batch")
    if len(messages) > MESSAGES_MAX:
        sentence = f"more than {MESSAGES_MAX} messages stand in one batch; send it in several"
    if sentence:
        return _refuse(received, at, Verdict.WRONG, sentence, kind="batch")
    parts = tuple(replace(received, raw=message) for message in messages)
    return AdmittedBatch(
        received=received,
        file=file,
        parts=tuple((part, admit(part, settings, at)) for part in parts),
    )


def answer_batch(
    batch: AdmittedBatch, answers: Iterator[bytes | None], at: datetime
) -> bytes | None:
    """The batch of its messages' answers, taken from `answers`; None where none asked for one."""
    grouped: list[Sequence[bytes]] = []
    marks = _header_of(batch.file)
    for one in batch.file.batches:
        said = list(islice(answers, len(one.messages)))
        # What is not named counts as accepted, so a message that cannot be answered is named.
        grouped.append(
            [_unnamed(marks, at) if ack == b"" else ack for ack in said if ack is not None]
        )
    if not any(grouped):
        return None
    control_id = control_id_of(sha256(batch.received.raw).digest())
    return acknowledge_batch(batch.file, grouped, control_id=control_id, at=at)


def batch_unavailable(batch: AdmittedBatch, at: datetime) -> bytes:
    """AR: nothing is wrong with the batch, and it may be sent again as it is."""
    return say_unavailable(batch.received.raw, _header_of(batch.file), at)


def _refuse(
    received: Received, at: datetime, verdict: Verdict, sentence: str, *, kind: str
) -> Refused:
    header = _header_of(split_batch(received.raw))
    complaint = Complaint(code=codes.DATA_TYPE, sentence=sentence)
    return refuse(received, header, at, verdict, complaint, kind=kind)


def _header_of(file: BatchFile) -> Header:
    """The batch's own header as if it were a message's, for an answer to the whole: MSA-2 is then
    BHS-11, the batch's control id."""
    heads = [batch.header for batch in file.batches if batch.header]
    head = heads[0] if heads else file.header
    if head is None:
        return Header(separators=Separators(), fields=[b"MSH"], fault="")
    fields = [b"MSH", *(head.field(number) for number in range(1, 9)), b"", head.field(11)]
    return Header(separators=head.separators, fields=fields, fault="")


def _unnamed(header: Header, at: datetime) -> bytes:
    """The answer to a message in a batch whose header cannot be read."""
    complaint = Complaint(
        code=codes.REQUIRED_MISSING, sentence="there is no header that can be read"
    )
    bare = replace(header, fields=[*header.fields[:10]])
    return codes.acknowledge(bare, "AR", control_id="1", at=at, complaint=complaint)
