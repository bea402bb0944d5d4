"""`chartgate retention status | run`."""

from tests.cli.conftest import Cli


def test_status_names_each_class_and_its_period(at_house: Cli) -> None:
    done = at_house("retention", "status")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert "2192 days" in lines["audit"]
    assert "184 days" in lines["disclosure"]
    assert at_house("retention", "run", "--dry-run").out == done.out


def test_run_where_nothing_is_old_deletes_nothing(at_house: Cli) -> None:
    done = at_house("retention", "run", "--json")
    assert done.code == 0
    assert {name for name, count in done.json.items() if count} <= {"expired"}
