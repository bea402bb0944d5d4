"""`chartgate halt` and `chartgate resume`."""

import getpass
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from chartgate.cli.halt import operator
from chartgate.demo.rig import Rig
from tests.cli.conftest import Cli


@pytest.fixture
def broken_charter(house: Rig, tmp_path: Path) -> Iterator[None]:
    """A charter whose file does not parse, until the test is over."""
    file = house.folder / "charters" / "visit-note.yaml"
    shutil.copy(file, tmp_path / "right")
    file.write_text("charter: [")
    yield
    shutil.copy(tmp_path / "right", file)


def test_halt_holds_everything_until_resume(at_house: Cli) -> None:
    done = at_house("halt", "--reason", "drill")
    assert (done.code, done.out) == (0, "halted: everything\n")
    status = at_house("status")
    assert f"HALTED * by {operator().agent}: drill" in status.out
    done = at_house("resume", "--reason", "over", "--json")
    assert (done.code, done.json) == (0, {"resumed": "*"})
    assert "HALTED" not in at_house("status").out


def test_halt_of_one_charter(at_house: Cli) -> None:
    done = at_house("halt", "--charter", "visit-note", "--reason", "drill", "--json")
    assert (done.code, done.json) == (0, {"halted": "visit-note"})
    done = at_house("resume", "--charter", "visit-note", "--reason", "over")
    assert (done.code, done.out) == (0, "resumed: visit-note\n")


def test_halt_of_a_charter_that_is_not_there_says_so(at_house: Cli) -> None:
    done = at_house("halt", "--charter", "visit-notes", "--reason", "drill")
    assert (done.code, done.out) == (1, "")
    assert "visit-notes" in done.err


def test_resume_where_nothing_is_halted_says_so(at_house: Cli) -> None:
    done = at_house("resume", "--reason", "over")
    assert done.code == 1
    assert "there is no halt on *" in done.err


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 501])
def test_halt_without_a_reason_that_can_be_kept_is_wrong_input(at_house: Cli, reason: str) -> None:
    done = at_house("halt", "--reason", reason)
    assert done.code == 2
    assert "say why, in one line" in done.err


@pytest.mark.usefixtures("broken_charter")
def test_halt_of_everything_works_while_a_charter_is_broken(at_house: Cli) -> None:
    done = at_house("halt", "--reason", "now")
    assert (done.code, done.out) == (0, "halted: everything\n")
    assert "the charters have mistakes: visit-note.yaml" in done.err
    assert at_house("resume", "--reason", "over").code == 0


@pytest.mark.usefixtures("broken_charter")
def test_halt_of_one_charter_while_one_is_broken_says_what_can_be_done(at_house: Cli) -> None:
    done = at_house("halt", "--charter", "clinic-booking", "--reason", "now")
    assert done.code == 2
    assert "visit-note.yaml" in done.err
    assert "halt everything: leave out --charter" in done.err


def test_halt_works_while_a_connection_is_broken(house: Rig, at_house: Cli) -> None:
    key = house.folder / "keys" / "north-ehr.pem"
    aside = key.with_suffix(".aside")
    key.rename(aside)
    try:
        assert at_house("halt", "--reason", "now").code == 0
    finally:
        aside.rename(key)
    assert at_house("resume", "--reason", "over").code == 0


def test_operator_without_an_account_name_is_known_by_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert operator().id.startswith("cli/uid-")
