"""`chartgate probe`: on a system that answers, on one that does not, and with a wrong credential."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chartgate.demo.rig import Rig, free_port
from tests.cli.conftest import Cli


@pytest.fixture
def faults(house: Rig) -> Iterator[Any]:
    """Switches faults of the hospital on, until the test is over."""

    def switch(**table: Any) -> None:
        asyncio.run(house.control("faults", table))

    yield switch
    asyncio.run(house.control("faults", {}))


@pytest.fixture
def config_text(house: Rig) -> Iterator[str]:
    """The house's config, which is as it was after the test."""
    text = house.config.read_text()
    yield text
    house.config.write_text(text)


def test_probe_of_a_system_that_does_what_its_dialect_says(at_house: Cli) -> None:
    done = at_house("probe", "north-ehr")
    assert done.code == 0
    assert "holds  " in done.out
    assert "FAILS" not in done.out
    assert "tried " in done.err, "progress is no output"
    assert "on   update\n" in done.out
    assert "OFF" not in done.out
    verdicts = at_house("probe", "north-ehr", "--json").json
    assert all(verdict["holds"] for verdict in verdicts)
    assert all(verdict["probed_at"] and verdict["detail"] for verdict in verdicts)


def test_last_probe_is_shown_with_its_date_and_nothing_is_tried(
    house: Rig, at_house: Cli, faults: Any
) -> None:
    before = at_house("probe", "north-ehr", "--json").json
    faults(down="503")
    done = at_house("probe", "north-ehr", "--last")
    assert done.code == 0
    assert done.out.startswith("north-ehr, probed 20")
    assert "tried" not in done.err
    assert at_house("probe", "north-ehr", "--last", "--json").json == before


def test_probe_of_a_system_that_ignores_preconditions_is_exit_code_1(
    at_house: Cli, faults: Any
) -> None:
    faults(ignore_if_match=True)
    done = at_house("probe", "north-ehr")
    assert done.code == 1
    assert "FAILS  " in done.out
    (why,) = [line for line in done.out.splitlines() if line.startswith("OFF  update:")]
    assert "if_match_on_put: PUT with a stale If-Match is refused" in why
    assert "Have versioning with If-Match switched on" in why
    assert why.endswith("then run `chartgate probe north-ehr` again")
    faults()
    assert at_house("probe", "north-ehr").code == 0


def test_probe_of_a_connection_that_is_not_there_says_so(at_house: Cli) -> None:
    done = at_house("probe", "north-her")
    assert (done.code, done.out) == (2, "")
    assert "no connection north-her that can be written" in done.err


def test_probe_of_a_system_that_is_not_there_says_what_to_check(
    house: Rig, at_house: Cli, config_text: str
) -> None:
    house.config.write_text(config_text.replace(f":{house.hospital_port}", f":{free_port()}"))
    done = at_house("probe", "north-ehr")
    assert (done.code, done.out) == (1, "")
    assert "north-ehr" in done.err
    verdicts = at_house("status", "--json").json["probed"][0]
    assert verdicts["holding"] == verdicts["tried"], "what was known stays"


def test_probe_with_a_key_that_the_system_does_not_know_says_what_to_check(
    house: Rig, at_house: Cli, cli: Cli, tmp_path: Path, config_text: str
) -> None:
    assert cli("init", tmp_path / "other").code == 0
    shutil.copy(tmp_path / "other/keys/north-ehr.pem", house.folder / "keys" / "strange.pem")
    house.config.write_text(config_text.replace("keys/north-ehr.pem", "keys/strange.pem"))
    done = at_house("probe", "north-ehr")
    assert (done.code, done.out) == (1, "")
    assert "client_id" in done.err
    assert "key" in done.err
    assert "BEGIN" not in done.err


def test_probe_with_a_client_id_that_the_system_does_not_know_says_what_to_check(
    house: Rig, at_house: Cli, config_text: str
) -> None:
    house.config.write_text(config_text.replace('client_id = "chartgate"', 'client_id = "gate"'))
    done = at_house("probe", "north-ehr")
    assert done.code == 1
    assert "client_id" in done.err


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("keys/north-ehr.pem", "keys/none.pem", "none.pem"),
        ("keys/north-ehr.pem", "keys/ledger.pem", "ledger.pem"),
        ('dialect = "sample-hospital"', 'dialect = "sample-hospitl"', "sample-hospital"),
        ('adapter = "fhir_r4"', 'adapter = "fhir-r4"', "did you mean fhir_r4?"),
        ('key_alg = "RS384"', 'key_alg = "RS38"', "key_alg"),
        ('\nurl = "http', '\nulr = "http', "did you mean url?"),
    ],
)
def test_mistake_in_the_connection_is_wrong_input(
    house: Rig, at_house: Cli, config_text: str, before: str, after: str, sentence: str
) -> None:
    assert before in config_text
    house.config.write_text(config_text.replace(before, after))
    done = at_house("probe", "north-ehr")
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
