"""De-identified views of single values: beside others, in lists, of the wrong shape, of an age."""

from typing import Any

import orjson
import pytest

from chartgate.formats import r4
from chartgate.model.charter import View
from chartgate.policy.deidentify import ViewSettings, deidentify
from chartgate.policy.deidentify_values import UCUM
from chartgate.policy.marks import OBSERVATION_VALUE, masked

KEY = b"k" * 32
SETTINGS = ViewSettings(year=2026, key=KEY)
SECRET = {"extension": [{"url": "http://x/any", "valueString": "Jane"}]}
PATIENT = {"resourceType": "Patient", "gender": "female"}
OVER = {"value": 90, "comparator": ">=", "unit": "a", "system": UCUM, "code": "a"}


def view(resource_type: str, view: View = "safe-harbor", **elements: Any) -> dict[str, Any]:
    kept = deidentify({"resourceType": resource_type, **elements}, view, SETTINGS)
    assert "jane" not in orjson.dumps(kept).decode().lower()
    return kept


def one(resource_type: str, name: str, value: Any, **more: Any) -> Any:
    return view(resource_type, **{name: value}, **more).get(name)


# Who and what a reference is to.


def test_pseudonym_is_the_same_in_every_version() -> None:
    """What was handed out last year must still meet what is handed out today."""
    assert SETTINGS.pseudonym("Patient/7") == "lzwydp4ckhqi7dvroodjouk66u"
    assert r4.is_shaped("id", SETTINGS.pseudonym("Patient/7"))


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"reference": "urn:uuid:1", "type": "Patient"}, {"type": "Patient"}),
        ({"reference": "Jane/7", "type": "Patient"}, {"type": "Patient"}),
        ({"type": "Patient"}, {"type": "Patient"}),
        ({"type": "Jane Doe"}, None),
        ({"reference": "urn:uuid:1", "type": "Jane Doe"}, None),
        ({"type": ["Patient"]}, None),
        ({"reference": "#jane"}, None),  # nothing contained has that name
    ],
)
def test_reference_that_cannot_be_followed_says_at_most_to_what_kind_of_thing_it_was(
    reference: Any, expected: Any
) -> None:
    assert one("Condition", "recorder", reference) == expected


# What stands in lists, and beside primitives.

REPEAT = ["1970-06-05", "1920-06-05", "2001"]


def test_list_of_dates_keeps_its_length_and_marks_only_what_is_cut() -> None:
    kept = one("ServiceRequest", "occurrenceTiming", {"event": REPEAT})
    assert kept == {"event": ["1970", None, "2001"], "_event": [None, masked(), None]}
    whole = view("ServiceRequest", "limited", occurrenceTiming={"event": REPEAT})
    assert whole["occurrenceTiming"] == {"event": REPEAT}


def test_list_where_one_value_belongs_counts_as_its_first() -> None:
    assert one("Patient", "birthDate", ["1970-06-05", "1971"]) == "1970"
    kept = view("Patient", birthDate=["1920", "1970"])
    assert "birthDate" not in kept
    assert "_birthDate" not in kept


def test_required_moment_is_marked_by_itself() -> None:
    """A moment cannot be cut to its year, and an event of the audit is not valid without one."""
    kept = view("AuditEvent", recorded="2026-03-02T09:00:00Z")
    assert "recorded" not in kept
    assert kept["_recorded"] == masked()


def test_what_has_only_extensions_is_marked_in_its_place() -> None:
    kept = view("Patient", _birthDate=SECRET, _gender=SECRET)
    assert (kept["_birthDate"], kept["_gender"]) == (masked(), masked())
    timing = one("ServiceRequest", "occurrenceTiming", {"_event": [SECRET, SECRET]})
    assert timing == {"_event": [masked(), masked()]}


def test_what_stands_beside_a_value_that_is_shown_or_is_unheard_of_is_left_out() -> None:
    kept = view("Patient", birthDate="1970", _birthDate=SECRET, _jane=SECRET, jane="Jane")
    assert kept.keys() == {"resourceType", "meta", "birthDate"}


def test_extensions_that_say_nothing_any_more_are_left_out() -> None:
    """They are not counted by anybody: a mark in their place would have no URL."""
    says = {"url": "http://x/any", "valueBoolean": True}
    kept = view("Patient", extension=[{"url": "http://x/any", "valueString": "Jane"}, says, says])
    assert kept["extension"] == [says, says]


@pytest.mark.parametrize("value", [{"Jane": 1}, [["Jane"]], [{"Jane": "Jane"}], None])
def test_primitive_where_something_else_stands_is_left_out(value: Any) -> None:
    assert view("Patient", gender=value, birthDate=value).keys() == {"resourceType", "meta"}


@pytest.mark.parametrize("resource_type", ["Jane", ["Patient"], None])
def test_what_is_no_resource_is_left_out_of_a_bundle(resource_type: Any) -> None:
    entry = [{"resource": {"resourceType": resource_type, "birthDate": "1970"}}]
    kept = view("Bundle", type="collection", entry=[*entry, {"resource": PATIENT}])
    assert kept["entry"] == [masked(), {"resource": PATIENT}]


# What stands in `meta`.


def test_meta_is_written_anew_wherever_it_stands() -> None:
    """Its tags and its source are those of the system that it came from."""
    meta = {"source": "http://jane", "tag": [{"code": "jane"}], "versionId": "7"}
    entry = [{"resource": {"meta": meta, **PATIENT}}]
    kept = view("Bundle", meta=meta, type="collection", entry=entry)
    assert kept["type"] == "collection"
    assert kept["entry"] == [{"resource": PATIENT}]
    assert kept["meta"]["tag"] == [{"system": OBSERVATION_VALUE, "code": "SUBSETTED"}]


@pytest.mark.parametrize("meta", [None, "jane", ["jane"], {}, {"security": 7}, {"security": ["j"]}])
def test_meta_that_is_none_says_only_what_was_done(meta: Any) -> None:
    kept = view("Patient", meta=meta)["meta"]
    assert [c["code"] for c in kept["security"]] == ["REDACTED", "PSEUDED", "ABSTRED"]
    assert kept.keys() == {"security", "tag"}


# Ages.


@pytest.mark.parametrize(
    ("resource_type", "name", "value", "expected"),
    [
        ("Condition", "onsetAge", {"value": 93}, OVER),
        ("Condition", "onsetAge", {"value": 40}, {"value": 40}),
        ("Observation", "valueQuantity", {"value": 93}, {"value": 93}),
        ("Observation", "valueQuantity", {"value": 93, "unit": "years"}, OVER),
    ],
)
def test_number_without_a_unit_is_an_age_where_its_element_says_so(
    resource_type: str, name: str, value: Any, expected: Any
) -> None:
    assert one(resource_type, name, value) == expected


@pytest.mark.parametrize("measure", ["Age", "Count", "Distance", "Duration", "Quantity"])
def test_years_over_89_are_one_category_in_every_kind_of_measure(measure: str) -> None:
    extension = {"url": "http://x/any", f"value{measure}": {"value": 93, "unit": "years"}}
    kept = one("Patient", "extension", [extension])
    assert kept == [{"url": "http://x/any", f"value{measure}": OVER}]
    limited = view("Patient", "limited", extension=[extension])["extension"]
    assert limited == [extension]


def test_range_of_an_age_has_no_end_over_89_with_or_without_a_unit() -> None:
    """Its ends are as much of an age as a value by itself would be."""
    code = {"coding": [{"system": "http://loinc.org", "code": "30525-0"}]}
    ages = {"low": {"value": 88}, "high": {"value": 93}}
    cut = {"low": {"value": 88}, "high": OVER}
    assert one("Observation", "valueRange", ages, code=code) == cut
    component = [{"code": code, "valueRange": ages}]
    assert one("Observation", "component", component)[0]["valueRange"] == cut
    assert one("Observation", "valueRange", ages) == ages, "which may be of anything"
    assert view("Observation", "limited", code=code, valueRange=ages)["valueRange"] == ages
    says = [{"url": "http://x/any", "valueBoolean": True}]
    odd = {"extension": says, "high": {"comparator": "<"}}
    assert one("Observation", "valueRange", odd, code=code) == odd
