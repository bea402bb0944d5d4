"""What comes back is taken apart with care."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.adapters.fhir_r4.bodies import (
    BadAnswer,
    check_depth,
    copy_of,
    issue_codes,
    parse_etag,
    parse_location,
    parse_resource,
    write_etag,
)

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('W/"3"', "3"),
        ('"3"', "3"),
        ("3", "3"),
        (' W/"a-b.c" ', "a-b.c"),
        ("", None),
        (None, None),
        ('W/"a b"', None),
        ('"' * 9, None),
    ],
)
def test_etag_is_weak_strong_bare_or_nothing(value: str | None, expected: str | None) -> None:
    assert parse_etag(value) == expected


@given(st.from_regex(r"[A-Za-z0-9\-.]{1,64}", fullmatch=True))
def test_every_version_id_survives_its_etag(version: str) -> None:
    assert parse_etag(write_etag(version)) == version


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://ehr.test/fhir/Slot/12/_history/3", ("Slot/12", "3")),
        ("Slot/12/_history/3", ("Slot/12", "3")),
        ("https://ehr.test/fhir/Slot/12", ("Slot/12", None)),
        ("Slot/12", ("Slot/12", None)),
        ("https://ehr.test/fhir/", None),
        ("Slot/a b", None),
        (None, None),
    ],
)
def test_location_names_reference_and_version(
    value: str | None, expected: tuple[str, str | None] | None
) -> None:
    assert parse_location(value) == expected


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"id":"1"}', b"\xff", b"<a/>"])
def test_what_is_no_resource_is_refused(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        parse_resource(body, depth_max=64)


def test_depth_is_limited_where_the_parser_is_not() -> None:
    def nested(depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {"resourceType": "Basic"}
        for _ in range(depth - 1):
            value = {"resourceType": "Basic", "a": value}
        return value

    check_depth(nested(64), depth_max=64)
    with pytest.raises(BadAnswer, match="nested deeper than 64"):
        check_depth(nested(65), depth_max=64)
    with pytest.raises(BadAnswer):
        parse_resource(b'{"resourceType":"Basic","a":' + b"[" * 100_000, depth_max=64)


def test_copy_is_canonical_and_its_version_is_the_etags_first() -> None:
    resource = {"resourceType": "Slot", "id": "1", "meta": {"versionId": "7"}, "a": 1}
    assert copy_of(resource, as_of=NOW, etag="8").version == "8"
    assert copy_of(resource, as_of=NOW).version == "7"
    assert copy_of({"resourceType": "Slot", "id": "1"}, as_of=NOW).version == ""
    shuffled = dict(reversed(resource.items()))
    assert copy_of(shuffled, as_of=NOW) == copy_of(resource, as_of=NOW)
    for bad in ({}, {"id": 3}, {"id": "../x"}):
        with pytest.raises(BadAnswer):
            copy_of({"resourceType": "Slot", **bad}, as_of=NOW)


def test_issue_codes_hold_no_text_of_the_outcome() -> None:
    outcome = {"issue": [{"code": "conflict", "diagnostics": "Jane Doe"}, {"code": "Jane Doe"}]}
    assert issue_codes(orjson.dumps(outcome)) == "conflict"
    assert issue_codes(b"Jane Doe") == "no OperationOutcome"
    assert issue_codes(b'{"issue":[{"code":"Jane Doe"}]}') == "no codes"
