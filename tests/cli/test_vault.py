"""`chartgate vault create | status | rotate | scrub`."""

from pathlib import Path

from chartgate.demo.rig import Rig
from tests.cli.conftest import Cli


def test_status_and_scrub_of_a_store_that_is_whole(at_house: Cli) -> None:
    facts = at_house("vault", "status", "--json").json
    assert (facts["holds"], facts["otherwise"]) == (True, 0)
    done = at_house("vault", "scrub")
    assert (done.code, done.err) == (0, "")
    assert "damaged" in done.out or "nothing is stored yet" in done.out
    assert at_house("vault", "scrub", "--json").json["damaged"] == 0


def test_rotate_while_everything_runs(house: Rig, at_house: Cli) -> None:
    before = at_house("vault", "status", "--json").json["master"]
    done = at_house("vault", "rotate", "--json")
    assert done.code == 0
    retired = Path(done.json["retired"])
    assert retired.name.endswith(f"{before}.old")
    retired.unlink()
    after = at_house("vault", "status", "--json").json
    assert (after["holds"], after["otherwise"]) == (True, 0)
    assert after["master"] != before
    assert at_house("vault", "scrub", "--json").json["damaged"] == 0


def test_master_key_that_is_gone_says_what_to_restore(house: Rig, at_house: Cli) -> None:
    key = house.folder / "keys" / "vault.key"
    away = key.rename(key.with_name("away"))
    try:
        status = at_house("vault", "status")
        probe = at_house("probe", "north-ehr")
        halts = at_house("hold", "list")
    finally:
        away.rename(key)
    assert status.code == 1
    assert "restore it from its backup" in status.out
    assert probe.code == 2
    assert "restore it from its backup" in probe.err
    assert halts.code == 0  # what needs no key goes on


def test_create_overwrites_nothing(at_house: Cli) -> None:
    done = at_house("vault", "create")
    assert done.code == 2
    assert "is kept" in done.err
