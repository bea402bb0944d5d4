"""Searchable is a part of readable, whatever is tried."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import ChartgateError, Denied, Invalid
from chartgate.model.charter import ReadRule, View
from chartgate.policy.search_guard import REFUSED, check_search

RULE = ReadRule(elements=("status", "participant", "start"), search=("patient", "date", "status"))
NAMES = ReadRule(elements=("name",), search=("family",))


@pytest.mark.parametrize(
    "criteria",
    [
        [("status", "booked"), ("date", "ge2026-01-01"), ("date", "lt2026-02-01T10:00:00Z")],
        [("patient", "Patient/7"), ("_count", "20"), ("_sort", "-date,status")],
        [("_id", "a,b"), ("_lastUpdated", "gt2026-01-01"), ("_format", "json")],
        [],
    ],
)
def test_search_when_it_is_plain_and_listed_then_it_passes(
    criteria: list[tuple[str, str]],
) -> None:
    check_search(RULE, "Appointment", criteria)


def test_exact_when_the_parameter_is_a_text_then_it_passes() -> None:
    check_search(NAMES, "Patient", [("family:exact", "Test")])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("actor", "does not list the search parameter actor"),
        ("patient.name", "chained"),
        ("patient:Patient.name", "chained"),
        ("patient:Patient", "chained"),
        ("_has:Observation:patient:code", "looks into other resources"),
        ("_has:Observation:patient:_has:AuditEvent:entity:agent", "other resources"),
        ("_include:iterate", "nobody asked policy about"),
        ("status:missing", "modifier :missing"),
        ("status:not", "modifier :not"),
        ("status:text", "modifier :text"),
        ("status:in", "modifier :in"),
        ("patient:identifier", "modifier :identifier"),
        ("status:exact", "modifier :exact"),
        ("_ID", "does not list"),
        ("Status", "does not list"),
        ("", "does not list"),
        ("_id:missing", "does not list"),
        ("_sort:missing", "does not list"),
        ("_unheard", "does not list"),
        *((name, "not allowed") for name in REFUSED),
    ],
)
def test_search_when_it_could_look_beyond_then_it_is_denied(name: str, sentence: str) -> None:
    with pytest.raises(Denied, match=sentence):
        check_search(RULE, "Appointment", [(name, "x")])


@pytest.mark.parametrize("value", ["start", "-comment", "date,-created", ""])
def test_sort_when_by_what_is_not_listed_then_it_is_denied(value: str) -> None:
    with pytest.raises(Denied, match="_sort by"):
        check_search(RULE, "Appointment", [("_sort", value)])


@pytest.mark.parametrize(
    "criterion",
    [
        ("date", "soon"),
        ("date", "xx2026-01-01"),
        ("_lastUpdated", "yesterday"),
        ("_count", "0"),
        ("_count", "-1"),
        ("_count", "all"),
        ("_id", "a/b"),
        ("_id", "../x"),
        ("_format", "xml"),
        ("status", ""),
        ("status", "x" * 501),
        ("status", "a\r\nb"),
        ("status", ",".join("a" * 60)),
    ],
)
def test_search_when_a_value_cannot_be_meant_then_it_is_invalid(
    criterion: tuple[str, str],
) -> None:
    with pytest.raises(Invalid):
        check_search(RULE, "Appointment", [criterion])


def test_search_when_there_are_too_many_criteria_then_it_is_invalid() -> None:
    with pytest.raises(Invalid, match="at most"):
        check_search(RULE, "Appointment", [("status", "booked")] * 31)


@pytest.mark.parametrize("rule", [None, ReadRule(elements=("status",))])
def test_search_when_the_charter_allows_none_then_it_is_denied(rule: ReadRule | None) -> None:
    with pytest.raises(Denied):
        check_search(rule, "Appointment", [])


def test_listed_parameter_when_the_type_does_not_have_it_then_it_is_denied() -> None:
    with pytest.raises(Denied, match="has no search parameter"):
        check_search(ReadRule(elements=(), search=("nothing",)), "Slot", [("nothing", "x")])


@given(name=st.text(max_size=30), value=st.text(max_size=30))
def test_whatever_passes_is_listed_or_common(name: str, value: str) -> None:
    try:
        check_search(RULE, "Appointment", [(name, value)])
    except ChartgateError:
        return
    assert name in {*RULE.search, "_id", "_lastUpdated", "_count", "_sort", "_format"}


@pytest.mark.parametrize("criterion", [("_id", "a"), ("_lastUpdated", "gt2026"), ("_sort", "_id")])
@pytest.mark.parametrize("view", ["limited", "safe-harbor"])
def test_search_by_what_a_view_hides_is_denied(criterion: tuple[str, str], view: View) -> None:
    check_search(RULE, "Appointment", [criterion])
    with pytest.raises(Denied):
        check_search(replace(RULE, view=view), "Appointment", [criterion])


@pytest.mark.parametrize(
    "criteria",
    [
        [("date", "2026-01-01,ge2026-02-01")],
        [("_lastUpdated", "2026-01-01,2026-02-01")],
        [("_format", "application/json")],
        [("_format", "application/fhir+json")],
        [("status", "x" * 500)],
        [("status", ",".join(["a"] * 50))],
        [("status", "booked")] * 30,
        [("_sort", "_id,-_lastUpdated")],
    ],
)
def test_search_to_its_bounds_passes(criteria: list[tuple[str, str]]) -> None:
    check_search(RULE, "Appointment", criteria)


@pytest.mark.parametrize(
    ("criterion", "sentence"),
    [
        (("status", "x" * 501), "over 500 characters"),
        (("x" * 501, "y"), "over 500 characters"),
        (("status", ",".join(["a"] * 51)), "at most 50 alternatives"),
        (("date", "2026-01-01,soon"), "^date must be a date"),
        (("_lastUpdated", "2026-01-01,"), "^_lastUpdated must be a date"),
        (("sta\ttus", "y"), "control character"),
    ],
)
def test_search_beyond_its_bounds_is_told_which(criterion: tuple[str, str], sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        check_search(RULE, "Appointment", [criterion])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("patient:organization.name", "chained"),
        ("_list.x", "_list is not allowed: lists are not searched"),
        ("x" * 500, "does not list"),
    ],
)
def test_search_in_disguise_is_denied_for_what_it_is(name: str, sentence: str) -> None:
    with pytest.raises(Denied, match=sentence):
        check_search(RULE, "Appointment", [(name, "y")])
