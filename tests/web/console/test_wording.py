"""Values in the words of people, with nothing hidden and nothing lost."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.model.proposal import Status
from chartgate.web.console.wording import (
    STATES,
    age_text,
    coding_text,
    concept_text,
    element_text,
    names_of,
    span_text,
    text_of,
    time_text,
    title_of,
    visible,
)

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
TASKS = "https://north-clinic.example/task-codes"


def test_every_status_has_words_of_its_own() -> None:
    assert set(STATES) == set(Status)
    assert len(set(STATES.values())) == len(Status)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-03-03T09:00:00Z", "Tue 3 Mar 2026, 09:00 UTC"),
        ("2026-03-03T09:00:00+00:00", "Tue 3 Mar 2026, 09:00 UTC"),
        ("2026-03-03T09:00:17+01:00", "Tue 3 Mar 2026, 09:00:17 +0100"),
        ("2026-03-03T09:00:00.250Z", "Tue 3 Mar 2026, 09:00:00.250000 UTC"),
        ("2026-03-03T09:00", "Tue 3 Mar 2026, 09:00"),
        ("2016-10-27", "27 Oct 2016"),
        ("2016-10", None),
        ("2016", None),
        ("2026-13-01", None),
        ("2026-02-30T09:00:00Z", None),
        ("2026-03-03T09:00:00.123456789Z", None),
        ("٢٠٢٦-٠٣-٠٣", None),
        ("09:00", None),
    ],
)
def test_time_is_readable_to_its_full_precision(value: str, text: str | None) -> None:
    assert time_text(value) == text


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ("2026-03-03T09:00:00Z", "2026-03-03T09:30:00Z", "Tue 3 Mar 2026, 09:00–09:30 UTC"),
        (
            "2026-03-03T09:00:00Z",
            "2026-03-04T09:30:00Z",
            "Tue 3 Mar 2026, 09:00 UTC to Wed 4 Mar 2026, 09:30 UTC",
        ),
        (
            "2026-03-03T09:00:00Z",
            "2026-03-03T09:30:00+01:00",
            "Tue 3 Mar 2026, 09:00 UTC to Tue 3 Mar 2026, 09:30 +0100",
        ),
        ("2026-01-01", "2026-12-31", "1 Jan 2026 to 31 Dec 2026"),
        ("2026", "2026-12-31", "2026 to 31 Dec 2026"),
        ("2026-01-01", None, "from 1 Jan 2026"),
        (None, "2026-01-01", "until 1 Jan 2026"),
        (None, None, None),
        (7, [], None),
    ],
)
def test_period_says_its_day_once(start: Any, end: Any, text: str | None) -> None:
    assert span_text(start, end) == text


@pytest.mark.parametrize(
    ("born", "age"),
    [
        ("1983-03-02", "43 y"),
        ("1983-03-03", "42 y"),
        ("2025-09-02", "6 months"),
        ("2026-02-27", "3 d"),
        ("2030-01-01", "0 d"),
        ("1983", ""),
        ("1983-02-31", ""),
        (None, ""),
    ],
)
def test_age_is_as_staff_say_it(born: Any, age: str) -> None:
    assert age_text(born, NOW) == age


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("a\r\nb", "a\nb"),
        ("safe\u202egnp.exe", "safe⟨U+202E⟩gnp.exe"),
        ("no\u200bte", "no⟨U+200B⟩te"),
        ("a\x00b\x1b[2K", "a⟨U+0000⟩b⟨U+001B⟩[2K"),
        ("tag\U000e0041", "tag⟨U+E0041⟩"),
        ("non\u00a0breaking é 王", "non\u00a0breaking é 王"),
    ],
)
def test_unseen_characters_are_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_visible_text_hides_nothing_and_stays_as_it_is_once_visible(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert all(c in "\n\t" or c.isprintable() or c.isspace() for c in shown)


@pytest.mark.parametrize(
    ("coding", "text"),
    [
        ({"system": LOINC, "code": "11506-3"}, "Progress note (LOINC 11506-3)"),
        ({"system": SNOMED, "code": "1", "display": "A"}, "A (SNOMED CT 1)"),
        # The display is the AI's claim: it never takes the place of the code.
        ({"system": LOINC, "code": "11506-3", "display": "X"}, "X (LOINC 11506-3)"),
        ({"system": TASKS, "code": "prior"}, f"{TASKS} prior"),
        ({"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
         "HL7 v3-ActCode AMB"),
        ({"code": "x", "version": "2"}, "x version 2"),
        ({"code": "x", "userSelected": True}, "x, chosen by a user"),
        ({"code": "x", "userSelected": False}, "x, not chosen by a user"),
        ({"display": "only words"}, "only words"),
        ({}, ""),
    ],
)  # fmt: skip
def test_coding_is_shown_with_every_part(coding: dict[str, Any], text: str) -> None:
    assert coding_text(coding) == text


def test_concept_is_its_words_and_its_codes() -> None:
    coding = {"system": LOINC, "code": "29463-7", "display": "Body weight"}
    assert concept_text({"coding": [coding]}) == "Body weight (LOINC 29463-7)"
    assert concept_text({"text": "Weight", "coding": [coding]}) == (
        "Weight (Body weight (LOINC 29463-7))"
    )
    assert concept_text({"text": "Weight"}) == "Weight"
    assert concept_text("no concept") == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"reference": "Patient/7"}, "Ana Li (Patient/7)"),
        ({"reference": "Patient/8"}, "Patient/8"),
        ({"start": "2026-01-01"}, "from 1 Jan 2026"),
        ({"family": "Costa", "given": ["Ivan"], "prefix": ["Dr."]}, "Dr. Ivan Costa"),
        ({"system": "phone", "value": "555", "use": "home"}, "phone 555 (home)"),
        ({"value": 32.5, "unit": "kg", "code": "kg"}, "32.5 kg"),
        ({"value": 5, "comparator": "<", "unit": "mg"}, "<5 mg"),
        ({"extension": [{"valueCode": "masked"}]}, "not shown by the charter"),
        ({"something": "else"}, None),
        ({}, None),
    ],
)
def test_element_of_a_common_type_is_one_text(value: dict[str, Any], text: str | None) -> None:
    assert element_text(value, {"Patient/7": "Ana Li"}) == text


def test_leaves_are_plain() -> None:
    assert [text_of(v, {}) for v in (None, True, False, 3, "x")] == ["", "yes", "no", "3", "x"]


def test_resources_are_called_what_people_call_them() -> None:
    names = names_of(
        [
            {"resourceType": "Schedule", "id": "s", "actor": [{"reference": "Practitioner/p"}]},
            {
                "resourceType": "Practitioner",
                "id": "p",
                "name": [{"use": "old", "family": "Then"}, {"family": "Now"}],
            },
            {"resourceType": "Patient", "id": "1", "name": [{"text": "Ana"}], "birthDate": "2000"},
            {"resourceType": "Organization", "id": "o", "name": "North Clinic"},
            {"resourceType": "Encounter", "id": "e", "period": {"start": "2026-03-01"}},
            {"resourceType": "Task", "id": "t", "code": {"text": "Prior authorisation"}},
            {"resourceType": "Task", "id": "u"},
        ]
    )
    assert names == {
        "Schedule/s": "Schedule of Now",
        "Practitioner/p": "Now",
        "Patient/1": "Ana, born 2000",
        "Organization/o": "North Clinic",
        "Encounter/e": "Visit from 1 Mar 2026",
        "Task/t": "Prior authorisation",
    }


def test_malformed_resource_has_no_title_and_breaks_nothing() -> None:
    for resource in (
        {},
        {"resourceType": "Patient", "name": [7]},
        {"resourceType": "Slot", "start": 7},
        {"resourceType": "Encounter", "period": []},
        {"resourceType": "Schedule", "actor": "x"},
        {"resourceType": "Task", "code": {"coding": [1]}},
    ):
        assert title_of(resource, {}) == ""
