"""Paths of the tables."""

from typing import Any

import pytest

from chartgate.transform.hl7v2_out.paths import BadPath, first_element, found

RESOURCE: dict[str, Any] = {
    "name": [{"family": "A", "given": ["B", "C"]}, {"family": "D"}],
    "participant": [
        {"actor": {"reference": "Patient/1"}},
        {"actor": {"reference": "https://ehr.example/Practitioner/2"}},
        {"actor": {"type": "Location", "display": "Room"}},
        "not an object",
    ],
    "telecom": [{"use": "home", "value": "1"}, {"use": "work", "value": "2"}, {"value": "3"}],
}
KNOWN = {"https://ehr.example/Practitioner/2": {"id": "2"}}


def resolve(value: Any) -> Any:
    return KNOWN.get(value.get("reference", ""), value) if isinstance(value, dict) else value


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("name.family", ["A", "D"]),
        ("name[0].given", ["B", "C"]),
        ("name[7].given", []),
        ("participant[Location].actor.display", ["Room"]),
        ("participant[Practitioner].actor->", [{"id": "2"}]),
        ("participant[Practitioner].actor->id", ["2"]),
        ("participant[Patient].actor->", [{"reference": "Patient/1"}]),
        ("telecom[use=work].value", ["2"]),
        ("telecom[use!=work].value", ["1", "3"]),
        ("nothing.here", []),
    ],
)
def test_path_leads_to_all_that_it_names(path: str, expected: list[Any]) -> None:
    assert found(RESOURCE, path, resolve) == expected


@pytest.mark.parametrize("path", ["", "a..b", "a[", "a[b]c", "1a", "->a", "a b", "a->->b", "a->.b"])
def test_what_is_no_path_is_told(path: str) -> None:
    with pytest.raises(BadPath):
        found(RESOURCE, path, resolve)


def test_first_element_is_that_of_the_root() -> None:
    assert first_element("telecom[use=work].value") == "telecom"
