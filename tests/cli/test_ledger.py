"""`chartgate ledger verify | prove | export`."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from chartgate.demo.rig import Rig
from tests.cli.conftest import Cli

VERIFIER = Path(__file__).parents[2] / "tools" / "verify_ledger.py"


@pytest.fixture(autouse=True)
def _signed(at_house: Cli) -> None:
    """A head is signed within a quarter of a second of the first events."""
    deadline = time.monotonic() + 10
    while at_house("ledger", "prove", "0").code:
        assert time.monotonic() < deadline


def test_verify_of_a_ledger_that_holds(at_house: Cli) -> None:
    done = at_house("ledger", "verify")
    assert done.code == 0
    assert "holds: True" in done.out
    facts = at_house("ledger", "verify", "--json").json
    assert facts["holds"] is True
    assert facts["events"] > 0


def test_verify_without_its_witness_is_exit_code_1(house: Rig, at_house: Cli) -> None:
    text = house.config.read_text()
    try:
        house.config.write_text(text.replace("ledger-witness.txt", "other-witness.txt"))
        done = at_house("ledger", "verify")
    finally:
        house.config.write_text(text)
    assert done.code == 1
    assert "FOUND: heads were signed, but the witness file" in done.out


def test_prove_prints_event_and_proof(at_house: Cli) -> None:
    done = at_house("ledger", "prove", "0")
    assert done.json["seq"] == 0
    assert done.json["inclusion_proof"]
    assert "north-clinic.example/chartgate" in done.json["checkpoint"]


def test_prove_of_an_event_that_is_not_there_says_how_many_are(at_house: Cli) -> None:
    done = at_house("ledger", "prove", str(2**63 - 1))
    assert (done.code, done.out) == (1, "")
    assert "no event 9223372036854775807 under a signed head" in done.err


def test_export_is_taken_by_the_independent_verifier(at_house: Cli, tmp_path: Path) -> None:
    done = at_house("ledger", "export", tmp_path / "export")
    assert done.code == 0
    assert "check it with tools/verify_ledger.py" in done.out
    key = tmp_path / "export" / "public_key.txt"
    checked = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), str(tmp_path / "export"), "--key", str(key)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    facts = at_house("ledger", "export", tmp_path / "again", "--json").json
    assert facts["events"] > 0


def test_export_into_a_folder_that_holds_something_is_wrong_input(
    at_house: Cli, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("")
    done = at_house("ledger", "export", tmp_path)
    assert done.code == 2
    assert "is not empty; name a new folder" in done.err


def test_signing_key_that_is_gone_says_what_to_restore(house: Rig, at_house: Cli) -> None:
    key = house.folder / "keys" / "ledger.pem"
    aside = key.with_suffix(".aside")
    key.rename(aside)
    try:
        done = at_house("ledger", "verify")
    finally:
        aside.rename(key)
    assert done.code == 2
    assert "restore it from its backup" in done.err


def test_verify_works_while_a_charter_is_broken(house: Rig, at_house: Cli) -> None:
    file = house.folder / "charters" / "visit-note.yaml"
    right = file.read_text()
    try:
        file.write_text("charter: [")
        assert at_house("ledger", "verify").code == 0
    finally:
        file.write_text(right)
