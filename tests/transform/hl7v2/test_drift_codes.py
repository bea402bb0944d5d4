"""Codes: what is taken for one, and which are told."""

import pytest

from chartgate.transform.hl7v2.drift_codes import UNTOLD, code_key, may_be_table, told


@pytest.mark.parametrize(
    ("segment", "text", "shown"),
    [
        ("PID", "F", "F"),
        ("OBX", "718-7", "718-7"),
        ("SCH", "Booked", "Booked"),
        ("PID", "Smith", UNTOLD),
        ("PID", "19800102", UNTOLD),
        ("OBX", "19800102", UNTOLD),
        ("ZPI", "GOLD", UNTOLD),
    ],
)
def test_code_is_told_only_where_it_cannot_be_of_a_patient(
    segment: str, text: str, shown: str
) -> None:
    key = code_key(segment, text)
    assert key is not None
    assert told(key) == shown


@pytest.mark.parametrize(
    ("segment", "text"), [("OBX", "two words"), ("OBX", "x" * 21), ("ZPI", "19800102")]
)
def test_what_looks_like_no_code_is_none(segment: str, text: str) -> None:
    assert code_key(segment, text) is None


def test_identifiers_names_and_free_text_are_no_tables() -> None:
    for field in (2, 3, 4, 5, 6, 7, 9, 11, 13, 14, 18, 19, 20, 21, 23):
        assert not may_be_table("PID", field)
    assert not may_be_table("OBX", 5)
    assert not may_be_table("NTE", 3)
    assert may_be_table("ZPI", 3)
