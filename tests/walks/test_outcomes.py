"""Each row of docs/reference/outcomes.md names a test that there is, and a verdict that there can be."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "outcomes.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and "::" in line
]
VERDICT = re.compile(r"(applied|not applied|cannot tell|not sent|sent|by what is found|as above)\b")


def test_there_are_rows_for_each_verdict() -> None:
    verdicts = {found[0] for row in ROWS if (found := VERDICT.match(row[2]))}
    assert {"applied", "not applied", "cannot tell", "not sent"} <= verdicts
    assert len(ROWS) > 25


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_row_names_a_test_that_there_is(row: list[str]) -> None:
    assert len(row) == 5
    assert VERDICT.match(row[2])
    file, _, name = row[4].strip("`").partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), flags=re.MULTILINE)
