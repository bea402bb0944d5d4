"""The question that a resource puts: what it says of itself, and what it does not say."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from chartgate.model.consent import ConsentQuestion
from chartgate.model.label import NO_LABELS, Labels
from chartgate.policy.consent_question import DEPTH_MAX, DIRECTORY, question_about
from tests.policy.consents import AT, PATIENT

LOINC = "http://loinc.org"


def ref(reference: str) -> dict[str, str]:
    return {"reference": reference}


def coded(code: str, system: str = LOINC) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def about(resource_type: str, *, zone: ZoneInfo | None = None, **elements: Any) -> ConsentQuestion:
    return question_about(
        {"resourceType": resource_type, "id": "1", **elements},
        patient=PATIENT,
        purpose="TREAT",
        actors=frozenset(),
        labels=NO_LABELS,
        at=AT,
        zone=zone,
    )


def test_observation_says_what_by_whom_when_and_of_what() -> None:
    found = about(
        "Observation",
        code=coded("85354-9"),
        category=[coded("vital-signs", "own")],
        component=[{"code": coded("8480-6")}],
        performer=[ref("Practitioner/a"), ref("Organization/b")],
        encounter=ref("Encounter/3"),
        subject=ref(PATIENT),
        effectiveDateTime="2026-03-01T08:00:00Z",
        issued="2026-03-02T08:00:00Z",
        valueDateTime="1970-01-01",
    )
    assert found.reference == "Observation/1"
    assert found.codes == frozenset({(LOINC, "85354-9"), ("own", "vital-signs")})
    assert (LOINC, "8480-6") in found.mentions
    assert found.authors == frozenset({"Practitioner/a", "Organization/b"})
    assert found.related == found.authors | {"Encounter/3", PATIENT}
    assert found.dated == (
        datetime(2026, 3, 1, 8, tzinfo=UTC),
        datetime(2026, 3, 2, 8, 0, 1, tzinfo=UTC),
    )
    assert not found.directory


@pytest.mark.parametrize(
    ("resource_type", "elements", "authors"),
    [
        ("Condition", {"recorder": ref("Practitioner/a")}, {"Practitioner/a"}),
        ("Condition", {"asserter": ref(PATIENT), "recorder": ref("Practitioner/a")}, {PATIENT, "Practitioner/a"}),
        ("Procedure", {"performer": [{"actor": ref("Practitioner/a")}]}, {"Practitioner/a"}),
        ("Composition", {"author": [ref("Practitioner/a")], "attester": [{"mode": "legal", "party": ref("Practitioner/b")}]}, {"Practitioner/a", "Practitioner/b"}),
        ("DocumentReference", {"author": [ref("Practitioner/a")]}, {"Practitioner/a"}),
        ("MedicationRequest", {"requester": ref("Practitioner/a")}, {"Practitioner/a"}),
        ("Immunization", {"performer": [{"actor": ref("Practitioner/a")}]}, {"Practitioner/a"}),
        ("DiagnosticReport", {"resultsInterpreter": [ref("Practitioner/a")]}, {"Practitioner/a"}),
        ("Observation", {"performer": [ref("Practitioner/a"), {"display": "Dr B"}]}, None),
        ("Observation", {"performer": [{"identifier": {"value": "b"}}]}, None),
        ("Observation", {}, None),
        ("Encounter", {"participant": [{"individual": ref("Practitioner/a")}]}, None),
        ("Patient", {"generalPractitioner": [ref("Practitioner/a")]}, None),
    ],
)  # fmt: skip
def test_authors_by_type(resource_type: str, elements: Any, authors: set[str] | None) -> None:
    expected = None if authors is None else frozenset(authors)
    assert about(resource_type, **elements).authors == expected


@pytest.mark.parametrize(
    ("resource_type", "elements", "first", "days"),
    [
        ("Encounter", {"period": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T23:59:59Z"}}, "2026-03-01T00:00:00+00:00", 3),
        ("Condition", {"onsetDateTime": "2026-03-01T00:00:00Z", "recordedDate": "2026-03-10T23:59:59Z"}, "2026-03-01T00:00:00+00:00", 10),
        ("Observation", {"effectiveDateTime": "2026-03-01"}, "2026-02-28T10:00:00+00:00", 50 / 24),
        ("Immunization", {"occurrenceDateTime": "2026-03"}, "2026-02-28T10:00:00+00:00", 31 + 26 / 24),
    ],
)  # fmt: skip
def test_dates_are_taken_at_their_widest(
    resource_type: str, elements: Any, first: str, days: float
) -> None:
    found = about(resource_type, **elements).dated
    begin = datetime.fromisoformat(first)
    assert found == (begin, begin + timedelta(days=days))


def test_zone_of_the_site_narrows_days() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    found = about("Observation", zone=berlin, effectiveDateTime="2026-03-01").dated
    begin = datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert found == (begin, begin + timedelta(days=1))


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"effectivePeriod": {"start": "2026-03-01"}},  # it may go on
        {"effectiveDateTime": "soon"},
        {"effectiveDateTime": 7, "issued": "2026-03-02T08:00:00Z"},
        {"effectiveTiming": {"event": ["2026-03-01"]}},
    ],
)
def test_time_that_cannot_be_told_is_not_known(elements: Any) -> None:
    assert about("Observation", **elements).dated is None


@pytest.mark.parametrize("resource_type", sorted(DIRECTORY))
def test_directory_entries_have_no_code_by_nature(resource_type: str) -> None:
    found = about(resource_type)
    assert found.directory
    assert found.codes == frozenset()


def test_what_a_clinical_resource_does_not_say_is_not_known() -> None:
    found = about("Observation", code={"text": "sugar"})
    assert (found.codes, found.authors, found.dated) == (None, None, None)
    assert found.related == frozenset()


def test_resource_that_nests_too_deep_to_be_looked_at_has_an_unknown_label() -> None:
    deep: Any = {}
    for _ in range(70):
        deep = {"extension": [deep]}
    found = about("Patient", **deep)
    assert found.labels.unknown
    assert (found.codes, found.related, found.directory) == (None, None, False)


@pytest.mark.parametrize(
    "resource", [{}, {"resourceType": 7}, {"resourceType": "Nonsense", "id": 5}]
)
def test_nonsense_is_asked_about_as_not_known(resource: Any) -> None:
    found = question_about(
        resource, patient=PATIENT, purpose="TREAT", actors=frozenset(), labels=NO_LABELS, at=AT
    )
    assert (found.reference, found.codes, found.authors, found.dated) == ("", None, None, None)


def test_question_holds_what_it_was_asked_with() -> None:
    berlin, labels = ZoneInfo("Europe/Berlin"), Labels(confidentiality="R")
    given: dict[str, Any] = {
        "patient": PATIENT, "purpose": "ETREAT", "actors": frozenset({"client:a"}),
        "labels": labels, "at": AT,
    }  # fmt: skip
    slot = {"resourceType": "Slot", "id": "1", "start": "2026-03-01T00:00:00Z"}
    plain = question_about(slot, **given)
    assert plain == ConsentQuestion(
        **given,
        action="access",
        resource_type="Slot",
        reference="Slot/1",
        codes=frozenset(),
        related=frozenset(),
        dated=(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC)),
        directory=True,
    )
    disclosed = question_about(slot, action="disclose", zone=berlin, **given)
    assert disclosed == replace(plain, action="disclose", zone=berlin)


def test_dates_of_a_list_all_count() -> None:
    periods = [
        {"start": "2026-03-02T00:00:00Z", "end": "2026-03-02T12:00:00Z"},
        None,
        {"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T12:00:00Z"},
    ]
    found = about("Appointment", requestedPeriod=periods).dated
    assert found == (
        datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 3, 12, 0, 1, tzinfo=UTC)
    )  # fmt: skip
    assert about("Appointment", requestedPeriod=[*periods, "soon"]).dated is None


@pytest.mark.parametrize("nested", [lambda inner: {"x": inner}, lambda inner: [inner]])
def test_everything_is_looked_at_to_the_last_level(nested: Callable[[Any], Any]) -> None:
    value: Any = {"code": "c", "system": "s", "reference": "Group/1"}
    for _ in range(DEPTH_MAX - 2):
        value = nested(value)
    found = about("Patient", extension=value)
    assert (found.mentions, found.related) == (frozenset({("s", "c")}), frozenset({"Group/1"}))
    assert not found.labels.unknown
    assert about("Patient", extension=nested(value)).labels.unknown


@pytest.mark.parametrize(
    ("coding", "mentions"),
    [
        ({"system": 7, "code": "x"}, {("", "x")}),
        ({"code": "x"}, {("", "x")}),
        ({"system": "s", "code": 7}, set()),
        ({"system": "s"}, set()),
    ],
)
def test_code_without_a_system_is_mentioned_and_says_nothing_of_what_it_is_about(
    coding: Any, mentions: set[tuple[str, str]]
) -> None:
    found = about("Observation", code={"coding": [coding]})
    assert (found.mentions, found.codes) == (frozenset(mentions), None)


def test_type_that_is_no_text_is_no_type() -> None:
    found = question_about(
        {"resourceType": 7, "id": "1"},
        patient=PATIENT, purpose="TREAT", actors=frozenset(), labels=NO_LABELS, at=AT,
    )  # fmt: skip
    assert (found.resource_type, found.reference) == ("", "")
