"""Every row of the list of attacks has a test that bears its id."""

import re
from pathlib import Path

import pytest

# Of the list: T tokens, L agents, F reads, P parsers, H feeds, W writes, E egress and operations.
ROWS = {
    "T": "01 03 05 06 07 08 09 10 11 13 14 15 17 18 19 20 22 23 24",
    "L": "01 02 03 05 06 08 09 10 12 13 14 15 16 18 19 20 21 23 24",
    "F": "01 02 03 05 07 08 09 10 12 14 15 16 18 19 22 23 24 25 26 27 29 30 31",
    "P": "01 03 04 05 06 07 09 10 11 12 13 14 16 17",
    "H": "01 02 03 04 07 08 09 11 12 14 15 16",
    "W": "01 02 03 04 05 07 08 11 12 13 14 15 16 18 19 20",
    "E": "01 04 05 06 07 08 10 11 12 13 15 16 18",
}
IDS = [f"{family}_{number}" for family, numbers in ROWS.items() for number in numbers.split()]
NAMES = " ".join(
    name
    for path in Path(__file__).parent.glob("test_*.py")
    for name in re.findall(r"def test_(\w+)\(", path.read_text(encoding="utf-8"))
)
NAMED = {
    f"{family}_{number}"
    for family, numbers in re.findall(
        r"\b([A-Z])((?:_\d\d)+)", re.sub(r"_([A-Z]_\d)", r" \1", NAMES)
    )
    for number in re.findall(r"\d\d", numbers)
} | set(re.findall(r"[TLFPHWE]_\d\d", NAMES))


@pytest.mark.parametrize("row", IDS)
def test_row_has_a_test(row: str) -> None:
    assert row in NAMED


def test_rows_are_all_that_there_are() -> None:
    assert len(IDS) == len(set(IDS)) == 116
