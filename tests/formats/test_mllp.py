"""Framing: any cut of the stream gives the same frames; what is no frame is told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.mllp import Deframer, Frame, frame

# FS before CR or VT ends a frame, so a message cannot hold those pairs, nor end in FS.
CONTENTS = st.binary(min_size=1, max_size=40).filter(
    lambda b: b"\x1c\r" not in b and b"\x1c\x0b" not in b and not b.endswith(b"\x1c")
)


def deframer(size_bytes_max: int = 1000) -> Deframer:
    return Deframer(size_bytes_max=size_bytes_max, noise_bytes_max=16)


@given(st.lists(CONTENTS, min_size=1, max_size=6), st.lists(st.integers(1, 30), max_size=30))
def test_frames_when_cut_anywhere_are_the_same(contents: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(content) for content in contents)
    under_test = deframer()
    found: list[Frame] = []
    for size in [*cuts, len(stream)]:
        found += under_test.feed(stream[:size])
        stream = stream[size:]
    assert found == [Frame(content) for content in contents]
    assert not under_test.begun


def test_frame_when_cut_at_every_offset_is_whole() -> None:
    stream = frame(b"MSH|one") + frame(b"MSH|two")
    for cut in range(len(stream)):
        under_test = deframer()
        found = under_test.feed(stream[:cut]) + under_test.feed(stream[cut:])
        assert found == [Frame(b"MSH|one"), Frame(b"MSH|two")]


@pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\n\n\r"])
def test_line_ends_between_frames_are_no_noise(between: bytes) -> None:
    found = deframer(1000).feed((frame(b"a") + between) * 30)
    assert found == [Frame(b"a")] * 30


def test_end_without_its_cr_when_a_frame_follows_is_an_end() -> None:
    assert deframer().feed(b"\x0bone\x1c\x0btwo\x1c\r") == [Frame(b"one"), Frame(b"two")]


def test_framing_bytes_inside_a_message_are_content() -> None:
    assert deframer().feed(frame(b"a\x1cb\x0bc\x1c\x1cd")) == [Frame(b"a\x1cb\x0bc\x1c\x1cd")]


def test_noise_when_there_is_too_much_ends_it() -> None:
    under_test = deframer()
    assert under_test.feed(b"GET / HTTP/1.1") == []
    assert under_test.feed(b"\r\nHost: x") == [Frame(b"GET / HTTP/1.1Ho", "noise")]
    assert under_test.feed(frame(b"late")) == []


def test_noise_when_there_is_little_is_dropped() -> None:
    assert deframer().feed(b"junk" + frame(b"MSH")) == [Frame(b"MSH")]


@pytest.mark.parametrize("ended", [False, True])
def test_message_over_the_limit_is_told_and_not_kept(ended: bool) -> None:
    under_test = deframer(10)
    stream = b"\x0bMSH|" + b"x" * 20 + (b"\x1c\r" if ended else b"")
    [found] = under_test.feed(stream)
    assert (found.flaw, found.content[:4], len(found.content) <= 10) == ("too large", b"MSH|", True)
    assert under_test.broken


def test_rest_when_no_more_bytes_come_is_a_part() -> None:
    under_test = deframer()
    under_test.feed(b"\x0bMSH|half")
    assert under_test.begun
    assert under_test.finish() == [Frame(b"MSH|half", "truncated")]
    assert under_test.finish() == []


def test_rest_when_only_its_cr_is_missing_is_a_message() -> None:
    under_test = deframer()
    under_test.feed(b"\x0bMSH|whole\x1c")
    assert under_test.finish() == [Frame(b"MSH|whole")]
