"""Batches at the door: each message for itself, unless messages may be missing."""

from datetime import UTC, datetime

import pytest

from chartgate.formats.hl7v2 import parse
from chartgate.formats.hl7v2_batch import split_batch
from chartgate.model.message import Arrival, Received, SequenceMark
from chartgate.testing.messages import adt, header, message, patient
from chartgate.transform.hl7v2.admission import Refused
from chartgate.transform.hl7v2.batches import (
    MESSAGES_MAX,
    AdmittedBatch,
    admit_batch,
    answer_batch,
    batch_unavailable,
    is_whole_batch,
)
from chartgate.transform.hl7v2.settings import FeedSettings

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SETTINGS = FeedSettings(connection="north", site="n")
FHS = b"FHS|^~\\&|LAB|NORTH|CHARTGATE|HERE|20240102||||F1\r"
BHS = b"BHS|^~\\&|LAB|NORTH|CHARTGATE|HERE|20240102||||B1\r"


def batch(*messages: bytes, count: int | None = None, head: bytes = BHS) -> bytes:
    """One batch; `count` is what its trailer says, if not the truth."""
    return head + b"".join(messages) + b"BTS|%d\r" % (len(messages) if count is None else count)


def admitted(raw: bytes, **more: str) -> AdmittedBatch | Refused:
    received = Received(connection="north", raw=raw, **more)  # type: ignore[arg-type]
    assert is_whole_batch(received)
    return admit_batch(received, SETTINGS, AT)


def answered(raw: bytes) -> bytes | None:
    found = admitted(raw)
    assert isinstance(found, AdmittedBatch)
    said: list[bytes | None] = []
    for _, one in found.parts:
        assert not isinstance(one, SequenceMark)
        said.append((one.ack or None) if isinstance(one, Arrival) else one.answer)
    return answer_batch(found, iter(said), AT)


def codes(answer: bytes) -> list[str]:
    return [parse(ack).value("MSA", 1) or "" for ack in split_batch(answer).messages]


def test_messages_of_a_batch_are_answered_one_by_one() -> None:
    wrong = message(header(control_id=""), patient())
    answer = answered(batch(adt(control_id="1"), wrong, adt(control_id="3")))
    assert answer is not None
    assert codes(answer) == ["AA", "AR", "AA"]
    head = split_batch(answer).batches[0].header
    assert head is not None
    assert [head.field(n) for n in (3, 5, 12)] == [b"CHARTGATE", b"LAB", b"B1"]
    assert split_batch(answer).flaws == ()


def test_file_of_two_batches_is_answered_by_two() -> None:
    raw = FHS + batch(adt(control_id="1")) + batch(adt(control_id="2")) + b"FTS|2\r"
    answer = answered(raw)
    assert answer is not None
    assert [len(one.messages) for one in split_batch(answer).batches] == [1, 1]
    assert answer.startswith(b"FHS")


@pytest.mark.parametrize(
    "raw",
    [
        batch(adt(), count=2),
        batch(adt(), adt(), count=1),
        batch(),
        BHS + adt(),
        FHS + batch(adt()) + b"FTS|2\r",
        FHS + batch(adt()),
        FHS + b"FTS|0\r",
        batch(*[adt()] * (MESSAGES_MAX + 1)),
    ],
    ids=["fewer", "more", "empty", "cut", "batches", "cut file", "empty file", "too many"],
)
def test_batch_when_it_does_not_add_up_is_refused_whole(raw: bytes) -> None:
    found = admitted(raw)
    assert isinstance(found, Refused)
    assert (found.rejected.reason_class, found.rejected.raw) == ("batch", raw)
    read = parse(found.answer or b"")
    assert (read.value("MSA", 1), read.value("MSH", 5)) == ("AE", "LAB")
    assert read.value("MSA", 2) in ("B1", "F1")


def test_batch_over_the_limit_is_refused_with_its_beginning() -> None:
    found = admitted(batch(*[adt()] * 1000), flaw="too large")
    assert isinstance(found, Refused)
    assert parse(found.answer or b"").value("MSA", 1) == "AR"
    assert len(found.rejected.raw) == 64 * 1024


def test_message_without_a_readable_header_is_named_in_the_answer() -> None:
    """What an answer does not name counts as accepted."""
    answer = answered(batch(adt(), b"MSH^\r"))
    assert answer is not None
    assert codes(answer) == ["AA", "AR"]


def test_batch_that_asks_for_no_answers_gets_none() -> None:
    quiet = adt().replace(b"|P|2.5\r", b"|P|2.5|||NE|NE\r")
    assert answered(batch(quiet)) is None
    found = admitted(batch(quiet))
    assert isinstance(found, AdmittedBatch)
    assert parse(batch_unavailable(found, AT)).value("MSA", 1) == "AR"
