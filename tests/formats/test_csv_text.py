"""CSV for spreadsheets: no cell is ever a formula, and nothing of a text is lost but its control
characters."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.csv_text import FORMULA, cell, write_csv


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "|cmd", "%x", "＝1", " =1", "\u00a0=1",
     '=HYPERLINK("http://x.example","y")', "\ufeff=1", "=cmd|' /C calc'!A0"],
)  # fmt: skip
def test_what_begins_like_a_formula_is_a_text(text: str) -> None:
    assert cell(text).startswith("'")
    [_, [shown]] = read(write_csv(["a"], [[text]]))
    assert shown.startswith("'")


@pytest.mark.parametrize("value", [7, -7, 2.5, -2.5])
def test_numbers_stay_numbers(value: float) -> None:
    assert cell(value) == str(value)


def test_nothing_is_an_empty_cell_and_yes_is_a_word() -> None:
    assert (cell(None), cell(True), cell("")) == ("", "True", "")


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_any_table_comes_back_as_it_was_and_without_a_formula(rows: list[list[str]]) -> None:
    shown = read(write_csv(["one", "two"], rows))
    assert shown[0] == ["one", "two"]
    assert len(shown) == len(rows) + 1
    for row, written in zip(rows, shown[1:], strict=True):
        assert written == [cell(value) for value in row]
        assert not any(value.lstrip(" ").startswith(FORMULA) for value in written)
