"""`chartgate erase`, and the holds and periods beside it."""

import json

from chartgate.demo.rig import Rig
from tests.cli.conftest import Cli


def test_dry_run_and_erase_of_somebody_unknown(at_house: Cli) -> None:
    words = ("erase", "Patient/nobody-here", "--site", "north-clinic")
    done = at_house(*words, "--dry-run")
    assert done.code == 0
    assert "nothing was changed" in done.out
    done = at_house(*words, "--reason", "asked for it", "--json")
    assert done.code == 0
    assert not any(done.json["counts"].values())


def test_hold_stands_in_the_way_until_it_is_lifted(at_house: Cli) -> None:
    hold = at_house("hold", "add", "--patient", "p-held", "--reason", "docket 7", "--json").json
    assert hold["patient"] == "Patient/p-held"
    assert hold["id"] in at_house("hold", "list").out
    words = ("erase", "p-held", "--site", "north-clinic", "--reason", "asked for it")
    done = at_house(*words)
    assert (done.code, done.out) == (1, "")
    assert hold["id"] in done.err
    assert at_house(*words, "--dry-run").code == 1
    assert at_house("hold", "lift", hold["id"], "--reason", "settled").code == 0
    assert at_house("hold", "lift", hold["id"], "--reason", "settled").code == 1
    assert at_house(*words).code == 0
    assert hold["id"] in json.dumps(at_house("hold", "list", "--lifted", "--json").json)


def test_what_is_asked_wrongly_is_exit_code_2(at_house: Cli, house: Rig) -> None:
    assert at_house("erase", "Slot/1", "--site", "north-clinic", "--reason", "x").code == 2
    assert at_house("erase", "p1", "--site", "nowhere", "--reason", "x").code == 2
    assert at_house("erase", "p1", "--site", "north-clinic").code == 2  # no reason
    assert at_house("hold", "add", "--patient", "a b", "--reason", "x").code == 2
