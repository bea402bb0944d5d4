"""A message on the terminal: the carets stand under what is meant."""

import pytest

from chartgate.cli.feed_show import lines_of, mark
from chartgate.testing.messages import adt, message

HEAD = "MSH|^~\\&|A|B|||20240102||ADT^A01|1|P|2.5"


def rendered(raw: bytes, position: str, *, width: int = 80, full: bool = False) -> list[str]:
    return list(lines_of(mark(raw, position), label="wrong", width=width, full=full))


def pointed(lines: list[str]) -> str:
    """What stands above the carets."""
    at = next(n for n, line in enumerate(lines) if line.strip().startswith("^"))
    carets = lines[at]
    start = carets.index("^")
    end = start + carets.count("^")
    return lines[at - 1].ljust(end)[start:end]


@pytest.mark.parametrize(
    ("position", "text"),
    [
        ("PID-7", "19800102"),
        ("PID-3.4", "NORTH"),
        ("PID-5.2", "Ada"),
        ("MSH-9", "ADT^A01"),
        ("MSH-2", "^~\\&"),
        ("PID-2", "|"),
        ("PV1-50", "␍"),
        ("EVN", "EVN|A01|20240102030405"),
    ],
)
def test_carets_stand_under_the_place(position: str, text: str) -> None:
    lines = rendered(adt(), position)
    assert pointed(lines) == text
    assert any(line.endswith("wrong") for line in lines)


def test_missing_place_is_pointed_at_where_it_would_be() -> None:
    lines = rendered(message(HEAD, "PID|1"), "PID-7.2")
    assert lines[1:] == [
        "    2 PID|1␍",
        "           ^ wrong",
        "      (PID-7.2 is not there; it would be here)",
    ]
    at_the_end = rendered(HEAD.encode() + b"\rPID|1", "PID-7")
    assert at_the_end[2] == "           ^ wrong"


def test_wide_and_combining_characters_keep_the_carets_in_place() -> None:
    raw = f"{HEAD}\rPID|||||山田^e\u0301|X\r".encode()
    lines = rendered(raw, "PID-6")
    assert lines[1:3] == ["    2 PID|||||山田^e\u0301|X␍", " " * 6 + " " * 15 + "^ wrong"]


def test_long_segment_is_wrapped_with_the_carets_under_their_part() -> None:
    raw = message(HEAD, "NTE|1||" + "a" * 60 + "|WRONG|b")
    lines = rendered(raw, "NTE-4", width=40)
    assert pointed(lines) == "WRONG"
    assert all(len(line) <= 6 + 40 + len(" wrong") for line in lines)


def test_very_long_message_shows_its_beginning_and_the_place() -> None:
    raw = message(HEAD, *(f"NTE|{n}|" for n in range(1000)), "PID|1||x||" + "y" * 9000 + "|z")
    lines = rendered(raw, "PID-3")
    assert pointed(lines) == "x"
    assert len(lines) < 300
    assert any("lines left out; --full shows them" in line for line in lines)
    assert any("(--full shows all of it)" in line for line in lines)
    assert len(rendered(raw, "PID-3", full=True)) > 1000
    far = rendered(raw, "PID-6")
    assert pointed(far) == "z"
    assert any(" … " in line for line in far)


@pytest.mark.parametrize(
    ("raw", "position", "note"),
    [
        (b"GET / HTTP\r\n", "", "(it is about the message as a whole)"),
        (b"GET / HTTP\r\n", "MSH-1", "(there is no MSH in it)"),
        (message(HEAD), "SCH-2", "(there is no SCH in it)"),
        (message(HEAD), "group 2", "(the place is group 2)"),
        (b"", "MSH-1", "(there is no MSH in it)"),
    ],
)
def test_place_that_cannot_be_pointed_at_is_said(raw: bytes, position: str, note: str) -> None:
    assert rendered(raw, position)[-1].strip() == note


def test_bytes_of_no_character_set_are_shown_as_such() -> None:
    raw = HEAD.encode() + b"||||||UNICODE UTF-8\rPID|||||\xff\x00\x9b\r"
    assert rendered(raw, "MSH-18")[-1] == "    2 PID|||||\\xff␀\\x9b␍"
    assert pointed(rendered(raw, "MSH-18")) == "UNICODE UTF-8"
