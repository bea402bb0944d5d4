"""`chartgate feed rebuild`."""

from pathlib import Path

import pytest

from chartgate.testing.messages import adt, header, message
from tests.cli.conftest import Cli
from tests.cli.feeds import send

FEED = "north-adt"
MOVED = '[[move]]\nfrom = "PID-13"\nto = "PID-14"\n'


@pytest.fixture
def tried(at_feed: Cli, tmp_path: Path) -> Path:
    """A file of overrides to try on three messages that came."""
    phoneless = message(header("ADT^A08", "3"), "PID|1||p3^^^NORTH^MR||Without^Phone")
    send(tmp_path, adt("A08", "1", mrn="p1"), adt("A08", "2", mrn="p2"), phoneless)
    file = tmp_path / "tried.toml"
    file.write_text(MOVED, encoding="utf-8")
    return file


def test_rebuild_from_its_start_to_the_switch(at_feed: Cli, tried: Path, tmp_path: Path) -> None:
    done = at_feed("feed", "rebuild", "start", FEED, "--overrides", tried)
    assert done.code == 0
    assert done.out.endswith(f"next: chartgate feed rebuild run {FEED}\n")
    done = at_feed("feed", "rebuild", "run", FEED)
    assert done.out.startswith(f"{FEED}: tables ")
    assert "(other overrides), 3 messages folded\n" in done.out
    done = at_feed("feed", "rebuild", "diff", FEED)
    assert done.out.splitlines()[1:] == ["        2 changed  Patient                telecom"]
    assert "p1" not in done.out
    refused = at_feed("feed", "rebuild", "switch", FEED)
    assert refused.code == 1
    assert "put the same file of overrides in the feed's place first" in refused.err
    config = tmp_path / "chartgate.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(f'{text}overrides = "tried.toml"\n', encoding="utf-8")
    done = at_feed("feed", "rebuild", "switch", FEED)
    assert done.code == 0
    assert "would take the place of the running one\nnothing is done yet" in done.out
    done = at_feed("feed", "rebuild", "switch", FEED, "--yes")
    assert done.out == (f"the rebuilt record of {FEED}, of 3 messages, is the running one\n")
    assert at_feed("feed", "rebuild", "status").out == "no rebuild is under way\n"


def test_diff_as_json_has_examples_where_they_are_asked_for(at_feed: Cli, tried: Path) -> None:
    at_feed("feed", "rebuild", "start", FEED, "--overrides", tried)
    at_feed("feed", "rebuild", "run", FEED)
    facts = at_feed("feed", "rebuild", "diff", FEED, "--json").json
    assert facts["changes"] == [
        {"resource_type": "Patient", "kind": "changed", "element": "telecom", "count": 2}
    ]
    assert (facts["remaining"], facts["refused_messages"], facts["folded"]) == (0, [], 3)
    facts = at_feed("feed", "rebuild", "diff", FEED, "--json", "--examples").json
    assert len(facts["changes"][0]["examples"]) == 2
    assert facts["changes"][0]["examples"][0] in at_feed(
        "feed", "rebuild", "diff", FEED, "--examples"
    ).out  # fmt: skip


def test_diff_says_what_is_missing_and_what_cannot_be_taken(
    at_feed: Cli, tried: Path, tmp_path: Path
) -> None:
    tried.write_text('[[move]]\nfrom = "PID-5"\nto = "PID-7"\nif = "PID-13 empty"\n')
    at_feed("feed", "rebuild", "start", FEED, "--overrides", tried)
    assert "3 messages to go" in at_feed("feed", "rebuild", "diff", FEED).out
    done = at_feed("feed", "rebuild", "run", FEED)
    assert "2 messages folded, 1 REFUSED" in done.out
    done = at_feed("feed", "rebuild", "diff", FEED)
    assert "        1 removed  Patient\n" in done.out
    assert "message 3 cannot be taken: PID-7 is not a date" in done.out
    send(tmp_path, adt("A08", "4", mrn="p4"))
    done = at_feed("feed", "rebuild", "diff", FEED)
    assert f"1 message to go; next: chartgate feed rebuild run {FEED}" in done.out
    assert "1 to go" in at_feed("feed", "rebuild", "status").out


def test_same_tables_are_said_to_change_nothing(at_feed: Cli, tried: Path) -> None:
    assert tried.exists()
    at_feed("feed", "rebuild", "start", FEED)
    done = at_feed("feed", "rebuild", "run", FEED)
    assert "(the running overrides)" in done.out
    assert "the records do not differ" in at_feed("feed", "rebuild", "diff", FEED).out


def test_drop_only_says_what_until_it_is_told_to(at_feed: Cli, tried: Path) -> None:
    at_feed("feed", "rebuild", "start", FEED, "--overrides", tried)
    done = at_feed("feed", "rebuild", "drop", FEED)
    assert "would be dropped\nnothing is done yet: add --yes" in done.out
    assert at_feed("feed", "rebuild", "status", "--json").json[0]["connection"] == FEED
    assert at_feed("feed", "rebuild", "drop", FEED, "--yes", "--json").json["done"] is True
    assert at_feed("feed", "rebuild", "status", "--json").json == []


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("run", FEED), 1, "begin one with `chartgate feed rebuild start`"),
        (("diff", FEED), 1, "there is no rebuild"),
        (("switch", FEED, "--yes"), 1, "there is no rebuild"),
        (("drop", FEED), 1, "there is no rebuild"),
        (("start", "south-adt"), 2, "south-adt is configured no more"),
        (("start", FEED, "--overrides", "none.toml"), 2, "none.toml cannot be read"),
        (("start",), 2, "connection"),
    ],
)
def test_mistake_says_what_to_do(
    at_feed: Cli, words: tuple[str, ...], code: int, sentence: str
) -> None:
    done = at_feed("feed", "rebuild", *words)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err


def test_broken_file_of_overrides_begins_nothing(at_feed: Cli, tried: Path) -> None:
    for content, words in ((b"[[mov]]\n", "did you mean move?"), (b"\xff", "is not UTF-8")):
        tried.write_bytes(content)
        done = at_feed("feed", "rebuild", "start", FEED, "--overrides", tried)
        assert done.code == 2
        assert words in done.err
    assert at_feed("feed", "rebuild", "status").out == "no rebuild is under way\n"
