"""Batches: every byte kept, every count held against what is there, every doubt named."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.hl7v2 import MalformedMessage, parse
from chartgate.formats.hl7v2_batch import (
    acknowledge_batch,
    is_batch,
    split_batch,
    split_messages,
)
from chartgate.testing.messages import adt, header, message

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FHS = b"FHS|^~\\&|LAB|NORTH|GATE|HERE|20240101||||F1\r"
BHS = b"BHS|^~\\&|LAB|NORTH|GATE|HERE|20240101||||B1\r"
ONE, TWO = adt(control_id="1"), adt(control_id="2")


def kinds(raw: bytes) -> list[tuple[str, str, int]]:
    return [(flaw.kind, flaw.position, flaw.batch) for flaw in split_batch(raw).flaws]


def test_whole_file_has_its_messages_byte_for_byte() -> None:
    found = split_batch(FHS + BHS + ONE + TWO + b"BTS|2\r" + BHS + TWO + b"BTS|1\rFTS|2\r")
    assert (found.messages, found.flaws, found.refusal) == ((ONE, TWO, TWO), (), "")
    assert [len(batch.messages) for batch in found.batches] == [2, 1]
    assert found.header is not None
    assert found.batches[0].header is not None
    assert (found.header.field(11), found.batches[0].header.field(11)) == (b"F1", b"B1")
    assert (found.header.field(1), found.header.field(2)) == (b"|", b"^~\\&")


@pytest.mark.parametrize(
    ("raw", "flaws"),
    [
        (BHS + ONE + b"BTS|2\r", [("count", "BTS-1", 1)]),
        (BHS + ONE + b"BTS|one\r", [("count", "BTS-1", 1)]),
        (BHS + ONE + b"BTS|" + b"9" * 5000 + b"\r", [("count", "BTS-1", 1)]),
        (BHS + ONE + b"BTS\r", []),
        (BHS + ONE, [("trailer", "BTS", 1)]),
        (BHS + b"BTS|0\r", [("empty", "BHS", 1)]),
        (BHS, [("trailer", "BTS", 1), ("empty", "BHS", 1)]),
        (FHS + BHS + ONE + b"BTS|1\rFTS|2\r", [("count", "FTS-1", 0)]),
        (FHS + BHS + ONE + b"BTS|1\r", [("trailer", "FTS", 0)]),
        (FHS + b"FTS|0\r", [("empty", "FHS", 0)]),
        (FHS + ONE + b"FTS|1\r", []),
        (FHS + ONE + BHS + TWO + b"BTS|1\rFTS|2\r", [("order", "BHS", 1)]),
        (BHS + ONE + BHS + TWO + b"BTS|1\r", [("trailer", "BTS", 1)]),
        (BHS + ONE + b"BTS|1\r" + TWO, [("order", "MSH", 2)]),
        (BHS + ONE + b"BTS|1\rBTS|1\r", [("order", "BTS", 0)]),
        (BHS + ONE + b"BTS|1\rFTS|1\r", [("order", "FHS", 0)]),
        (FHS + BHS + ONE + b"BTS|1\rFTS|1\r" + FHS,
         [("order", "FTS", 0), ("nested", "FHS", 0)]),
        (FHS + BHS + FHS + ONE + b"BTS|1\rFTS|1\r",
         [("trailer", "BTS", 1), ("empty", "BHS", 1), ("nested", "FHS", 0),
          ("order", "MSH", 2), ("order", "BHS", 2), ("count", "FTS-1", 0)]),
        (BHS + b"hello\r" + ONE + b"BTS|1\r", [("text", "BHS", 0)]),
    ],
)  # fmt: skip
def test_envelope_when_it_does_not_fit_is_flagged(
    raw: bytes, flaws: list[tuple[str, str, int]]
) -> None:
    assert kinds(raw) == flaws
    assert bool(split_batch(raw).refusal) == any(kind != "empty" for kind, _, _ in flaws)
    assert split_batch(raw).messages == tuple(m for m in (ONE, TWO) if m in raw)


@given(
    st.lists(st.lists(st.sampled_from([ONE, TWO, b"MSH|^~\\&|cut"]), max_size=4), max_size=4),
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n\r\n"]),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\n \n"]),
)
def test_any_batches_are_split_into_what_was_put_in(
    batches: list[list[bytes]], end: bytes, prefix: bytes
) -> None:
    parts = [
        (m if m.endswith(b"\r") else m + b"\r").replace(b"\r", end) for b in batches for m in b
    ]
    left = iter(parts)
    raw = prefix + FHS.strip() + end
    for batch in batches:
        inner = b"".join(next(left) for _ in batch)
        raw += BHS.strip() + end + inner + b"BTS|%d" % len(batch) + end
    raw += b"FTS|%d" % len(batches) + end
    found = split_batch(raw)
    assert list(found.messages) == parts
    assert [len(batch.messages) for batch in found.batches] == [len(batch) for batch in batches]
    assert not found.refusal


@given(st.binary(max_size=200))
def test_any_bytes_are_split_or_refused_and_nothing_is_lost(noise: bytes) -> None:
    for raw in (noise, FHS + noise, BHS + ONE + noise + b"\rBTS|1\r" + noise):
        try:
            found = split_batch(raw)
        except MalformedMessage:
            assert not is_batch(raw)
            continue
        envelope, rest = b"", raw
        for each in found.messages:
            before, at, rest = rest.partition(each)
            assert at
            assert each.startswith(b"MSH")
            envelope += before
        envelope += rest
        lines = [line for line in re.split(rb"[\r\n\x0b\x1c]", envelope) if line.strip()]
        if not found.refusal:
            assert all(line.strip()[:3] in (b"FHS", b"BHS", b"BTS", b"FTS") for line in lines)


@pytest.mark.parametrize("raw", [b"", ONE, b"\x00", b"FTS|1\r", b"BHSX\r"])
def test_file_that_begins_as_no_batch_is_refused(raw: bytes) -> None:
    assert not is_batch(raw)
    with pytest.raises(MalformedMessage):
        split_batch(raw)


@pytest.mark.parametrize(
    ("before", "between", "after"),
    [(b"", b"", b""), (b"\n", b"\r\n\r\n", b"\n"), (b"\x0b", b"\x1c\r\x0b", b"\x1c\r")],
)
def test_messages_one_after_another_are_split(before: bytes, between: bytes, after: bytes) -> None:
    found = split_messages(before + ONE + between + TWO + after)
    assert [parse(m).value("MSH", 10) for m in found] == ["1", "2"]
    assert [m.rstrip(b"\r\n") for m in found] == [ONE.rstrip(), TWO.rstrip()]


@pytest.mark.parametrize("raw", [b"", b"hello\r" + ONE, BHS + ONE, ONE + b"BTS|1\r"])
def test_file_that_holds_more_than_messages_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedMessage) as refused:
        split_messages(raw)
    assert refused.value.kind == "batch"


def test_header_inside_a_field_opens_nothing() -> None:
    odd = message(header(), "NTE|1||see MSH|x and BTS|9", "MSHX is text", "BTSX too")
    assert split_batch(BHS + odd + b"BTS|1\r").messages == (odd,)


def test_acknowledgement_goes_back_refers_and_counts() -> None:
    found = split_batch(FHS + BHS + ONE + TWO + b"BTS|2\r" + BHS + ONE + b"BTS|1\rFTS|2\r")
    ack = b"MSH|^~\\&|GATE\rMSA|AE|2\r"
    written = acknowledge_batch(found, [[ack], []], control_id="OURS", at=AT)
    assert written.decode().split("\r") == [
        "FHS|^~\\&|GATE|HERE|LAB|NORTH|20260302090000+0000||||OURS|F1",
        "BHS|^~\\&|GATE|HERE|LAB|NORTH|20260302090000+0000||||OURS-1|B1",
        "MSH|^~\\&|GATE",
        "MSA|AE|2",
        "BTS|1",
        "BHS|^~\\&|GATE|HERE|LAB|NORTH|20260302090000+0000||||OURS-2|B1",
        "BTS|0",
        "FTS|2",
        "",
    ]
    back = split_batch(written)
    assert (back.messages, back.refusal) == ((ack,), "")


def test_acknowledgement_of_a_batch_keeps_its_delimiters() -> None:
    found = split_batch(b"BHS#*+/%#A#B#C#D#1####x*y\r" + ONE + b"BTS#1\r")
    assert found.refusal == ""
    written = acknowledge_batch(found, [[]], control_id="a#b", at=AT)
    assert written == b"BHS#*+/%#C#D#A#B#20260302090000+0000####a/F/b#x*y\rBTS#0\r"
    with pytest.raises(ValueError, match="for each batch"):
        acknowledge_batch(found, [], control_id="x", at=AT)
