"""De-identified views: nothing planted in a structured field comes out, and what does is valid."""

import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartgate.errors import Denied
from chartgate.formats import r4
from chartgate.formats.r4_structure import structure_findings
from chartgate.model.charter import ReadRule, View
from chartgate.policy.deidentify import ViewSettings, deidentify
from chartgate.policy.deidentify_values import (
    SPARSE_2000,
    SPARSE_2010,
    SPARSE_2020,
    SPARSE_PREFIXES,
    address,
    aged,
    year_of,
)
from chartgate.policy.minimise import listable_elements, minimise
from tests.formats.r4_instances import make_resource

KEY = b"k" * 32
SETTINGS = ViewSettings(year=2026, key=KEY)
WITHOUT_KEY = ViewSettings(year=2026)
RECORDS = 1_000


def everything(resource_type: str, view: View) -> ReadRule:
    names = sorted(listable_elements(resource_type) | {"contained", "extension"})
    urls = ("http://x/any", "http://x/nested")
    return ReadRule(elements=tuple(names), extensions=urls, identifiers=("http://mrn",), view=view)


def shown(resource: dict[str, Any], view: View, view_settings: ViewSettings = SETTINGS) -> Any:
    return minimise(resource, everything(resource["resourceType"], view), view_settings)


# One thousand records with identifiers in every structured field.

NUMBERS = ("decimal", "integer", "positiveInt", "unsignedInt")
MEASURES = ("Age", "Count", "Distance", "Duration", "Quantity")
# What names a thing of a standard, and nobody.
HARMLESS = {
    ("Coding", "system"): "http://loinc.org",
    ("Extension", "url"): "http://x/any",
    ("Identifier", "system"): "http://mrn",
    **{(measure, "system"): "http://unitsofmeasure.org" for measure in MEASURES},
    **{(measure, "unit"): "mg" for measure in MEASURES},
}


class Planter:
    """Makes resources in which each value that could identify somebody is a canary of its own."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.planted: list[str] = []

    def make(self, resource_type: str, *, depth: int = 3) -> dict[str, Any]:
        made = self._object(resource_type, depth)
        return {**made, "resourceType": resource_type, "id": self._canary("id")}

    def _object(self, owner: str, depth: int) -> dict[str, Any]:
        by_base: dict[str, list[r4.Element]] = {}
        for element in r4.elements(owner).values():
            if element.type not in ("Meta", "Narrative") and element.base != "modifierExtension":
                by_base.setdefault(element.base, []).append(element)
        bases = sorted(by_base)
        if owner == "Extension":
            bases = ["url", "value"]
        elif depth <= 0:
            bases = sorted(r4.mandatory_bases(owner) & set(bases)) or ["id"]
        elif owner.count(".") or depth < 3:
            bases = self.random.sample(bases, min(len(bases), 8))
            bases = sorted({*bases, *r4.mandatory_bases(owner)} & set(by_base))
        made: dict[str, Any] = {}
        for base in bases:
            element = self.random.choice(by_base[base])
            if depth <= 0:
                element = next((e for e in by_base[base] if r4.is_primitive(e.type)), element)
            value = self._value(owner, element, depth)
            made[element.name] = [value] if element.many else value
        return made

    def _value(self, owner: str, element: r4.Element, depth: int) -> Any:
        if r4.is_primitive(element.type):
            return self._primitive(owner, element)
        if element.type in r4.RESOURCE_TYPES_OPEN:
            return self.make("Patient", depth=1) if depth > 0 else {"resourceType": "Patient"}
        if element.type == "Reference":
            target = self.random.choice(element.targets or ("Patient",))
            id_ = self._canary("ref")
            form = self.random.choice(("{}/{}", "https://ehr.example/{}/{}", "{}/{}/_history/3"))
            return {
                "reference": form.format(target, id_),
                "display": self._canary("name"),
                "identifier": {"system": "http://mrn", "value": self._canary("mrn")},
            }
        return self._object(element.type, depth - 1)

    def _primitive(self, owner: str, element: r4.Element) -> Any:
        key = (owner, element.base)
        if element.codes:
            return min(element.codes)
        if key in HARMLESS:
            return HARMLESS[key]
        if element.type in NUMBERS:
            return 7
        makers: dict[str, Callable[[], Any]] = {
            "boolean": lambda: True,
            "code": lambda: "a-code",
            "date": self._date,
            "dateTime": lambda: f"{self._date()}T11:22:33Z",
            "instant": lambda: f"{self._date()}T11:22:33Z",
            "time": lambda: self._plant("11:22:33"),
            "base64Binary": lambda: self._plant("Q0FOQVJZ" + "QUJD" * self.random.randint(1, 4)),
            "oid": lambda: self._plant(f"urn:oid:1.2.3.{self._number()}"),
            "uuid": lambda: self._plant(f"urn:uuid:00000000-0000-4000-8000-{self._number():012}"),
            "uri": lambda: f"https://{self._canary('web')}.example",
        }
        makers |= {"url": makers["uri"], "canonical": makers["uri"]}
        return makers.get(element.type, lambda: self._canary(element.base))()

    def _number(self) -> int:
        return self.random.randint(10**8, 10**9 - 1)

    def _date(self) -> str:
        month, day = self.random.randint(1, 12), self.random.randint(1, 28)
        self._plant(f"-{month:02}-{day:02}")
        return f"{self.random.randint(1937, 2025)}-{month:02}-{day:02}"

    def _canary(self, kind: str) -> str:
        return self._plant(f"canary-{kind}-{self.random.randint(10**8, 10**9)}".replace("_", "-"))

    def _plant(self, text: str) -> str:
        self.planted.append(text)
        return text


COMMON = (
    *("Patient", "Patient", "RelatedPerson", "Practitioner", "Location", "Organization"),
    *("Encounter", "Condition", "Observation", "MedicationRequest", "Appointment", "Slot"),
    *("Coverage", "Claim", "ExplanationOfBenefit", "Account", "Device", "DocumentReference"),
    *("FamilyMemberHistory", "QuestionnaireResponse", "Immunization", "Communication", "Specimen"),
)


def test_safe_harbor_when_identifiers_are_planted_then_none_comes_out() -> None:
    """Recall on structured fields: 100 %, over a thousand records of all types of R4."""
    random = Random(164_514)
    types = sorted(r4.resource_types())
    planted = 0
    for n in range(RECORDS):
        planter = Planter(random)
        resource_type = COMMON[n % len(COMMON)] if n % 2 else types[n % len(types)]
        resource = planter.make(resource_type)
        kept = shown(resource, "safe-harbor", random.choice((SETTINGS, WITHOUT_KEY)))
        text = orjson.dumps(kept).decode()
        planted += len(planter.planted)
        missed = [p for p in planter.planted if p in text]
        assert missed == [], (resource_type, missed)
        assert "canary" not in text.lower()
        assert list(structure_findings(kept)) == []
    assert planted > 50_000


def test_limited_when_direct_identifiers_are_planted_then_none_comes_out() -> None:
    """All but dates, times, town, state and ZIP code: 164.514(e)(2)."""
    random = Random(514)
    types = sorted(r4.resource_types())
    for n in range(300):
        planter = Planter(random)
        resource_type = COMMON[n % len(COMMON)] if n % 2 else types[n % len(types)]
        resource = planter.make(resource_type)
        kept = shown(resource, "limited")
        text = re.sub(
            r"canary-(city|state|postalCode|country)-\d+", "", orjson.dumps(kept).decode()
        )
        assert "canary" not in text.lower(), resource_type
        assert list(structure_findings(kept)) == []


PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "mrn-0042",
    "meta": {
        "versionId": "3",
        "lastUpdated": "2026-03-02T09:00:00Z",
        "security": [
            {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"},
            {"system": "http://hospital.example/labels", "code": "ward of Dr. House"},
        ],
        "tag": [{"system": "http://hospital.example", "code": "jane-doe"}],
    },
    "identifier": [{"system": "http://mrn", "value": "0042"}],
    "name": [{"family": "Doe", "given": ["Jane"]}],
    "telecom": [{"system": "phone", "value": "+1 555 0100"}],
    "gender": "female",
    "birthDate": "1970-06-05",
    "deceasedDateTime": "2025-12-31T23:00:00Z",
    "address": [
        {
            "use": "home",
            "text": "1 Elm St",
            "line": ["1 Elm St"],
            "city": "Boston",
            "district": "Suffolk",
            "state": "ma",
            "postalCode": "02139-4307",
            "country": "USA",
            "period": {"start": "2001-02-03"},
        }
    ],
    "photo": [{"contentType": "image/png", "data": "QUJD"}],
    "generalPractitioner": [{"reference": "Practitioner/9", "display": "Dr. House"}],
    "maritalStatus": {"coding": [{"system": "http://x", "code": "M", "display": "d"}], "text": "t"},
}


def test_safe_harbor_when_a_patient_is_shown_then_what_is_left_says_little() -> None:
    kept = shown(PATIENT, "safe-harbor")
    assert kept == {
        "resourceType": "Patient",
        "id": SETTINGS.pseudonym("Patient/mrn-0042"),
        "gender": "female",
        "birthDate": "1970",
        "deceasedDateTime": "2025",
        "address": [
            {
                "use": "home",
                "state": "MA",
                "postalCode": "021",
                "country": "US",
                "period": {"start": "2001"},
            }
        ],
        "generalPractitioner": [
            {"reference": f"Practitioner/{SETTINGS.pseudonym('Practitioner/9')}"}
        ],
        "maritalStatus": {"coding": [{"system": "http://x", "code": "M"}]},
        "meta": {
            "security": [
                {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"},
                *(
                    {"system": OBSERVATION_VALUE, "code": c}
                    for c in ("REDACTED", "PSEUDED", "ABSTRED")
                ),
            ],
            "tag": [{"system": OBSERVATION_VALUE, "code": "SUBSETTED"}],
        },
    }


OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"


def test_safe_harbor_when_there_is_no_key_then_no_id_is_left_and_it_is_anonymous() -> None:
    kept = shown(PATIENT, "safe-harbor", WITHOUT_KEY)
    assert "id" not in kept
    assert kept["generalPractitioner"] == [{"type": "Practitioner"}]
    codes = {c["code"] for c in kept["meta"]["security"]}
    assert codes == {"N", "REDACTED", "ANONYED", "ABSTRED"}


def test_limited_when_a_patient_is_shown_then_dates_and_towns_stay() -> None:
    kept = shown(PATIENT, "limited")
    assert kept["birthDate"] == "1970-06-05"
    assert kept["address"] == [
        {
            "use": "home",
            "city": "Boston",
            "state": "ma",
            "postalCode": "02139-4307",
            "country": "USA",
            "period": {"start": "2001-02-03"},
        }
    ]
    assert kept["meta"]["lastUpdated"] == "2026-03-02T09:00:00Z"
    assert not {"name", "telecom", "identifier", "photo"} & kept.keys()
    assert kept["id"] == SETTINGS.pseudonym("Patient/mrn-0042")


def test_pseudonym_when_key_and_reference_are_the_same_then_so_is_it() -> None:
    one = SETTINGS.pseudonym("Patient/7")
    assert one == ViewSettings(year=2020, key=KEY).pseudonym("Patient/7")
    assert one != SETTINGS.pseudonym("Patient/8")
    assert one != SETTINGS.pseudonym("Practitioner/7")
    assert one != ViewSettings(year=2026, key=b"other" * 8).pseudonym("Patient/7")
    assert r4.is_shaped("id", one)


def test_references_when_written_in_any_way_then_they_lead_to_the_same_pseudonym() -> None:
    for reference in ("Patient/7", "https://ehr.example/fhir/Patient/7", "Patient/7/_history/2"):
        subject = {"resourceType": "Flag", "subject": {"reference": reference}}
        kept = shown(subject, "safe-harbor")
        assert kept["subject"] == {"reference": f"Patient/{SETTINGS.pseudonym('Patient/7')}"}


@pytest.mark.parametrize("reference", ["urn:uuid:1", "Patient?identifier=1", "Nobody/7", "x", 7])
def test_references_when_they_cannot_be_read_then_they_are_masked(reference: Any) -> None:
    kept = shown({"resourceType": "Flag", "subject": {"reference": reference}}, "safe-harbor")
    assert kept["subject"]["extension"][0]["valueCode"] == "masked"


def test_contained_resources_when_shown_then_their_names_are_new_and_still_meet() -> None:
    resource = {
        "resourceType": "Condition",
        "contained": [
            {"resourceType": "Practitioner", "id": "dr-house", "name": [{"family": "House"}]}
        ],
        "recorder": {"reference": "#dr-house"},
        "asserter": {"reference": "#nobody"},
    }
    kept = shown(resource, "safe-harbor")
    assert kept["contained"] == [{"resourceType": "Practitioner", "id": "c1"}]
    assert kept["recorder"] == {"reference": "#c1"}
    assert "house" not in orjson.dumps(kept).decode().lower()


def test_values_when_they_have_only_extensions_then_they_are_masked_in_their_places() -> None:
    """A view shows no extension of a primitive, listed or not."""
    secret = {"extension": [{"url": "http://x/any", "valueString": "Jane"}]}
    patient = {
        "resourceType": "Patient",
        "_birthDate": secret,
        "_gender": {"extension": [{"url": "http://x/any", "valueCode": "jane"}]},
        "communication": [{"language": {"text": "Jane"}}],
        "contact": [{"_gender": secret, "organization": {"_reference": secret}}],
    }
    adverse = {
        "resourceType": "Immunization",
        "_status": secret,
        "vaccineCode": {"text": "Jane"},
        "patient": {"reference": "Patient/jane"},
        "_occurrenceString": secret,
        "education": [{"_documentType": secret, "reference": "https://x/jane"}],
        "programEligibility": [{"coding": [{"_code": secret}]}],
    }
    for resource in (patient, adverse):
        kept = shown(resource, "safe-harbor")
        assert "jane" not in orjson.dumps(kept).decode().lower()
        assert list(structure_findings(kept)) == []


# Dates, ages, places.


@pytest.mark.parametrize(
    ("date", "year"),
    [
        ("1970-06-05", "1970"),
        ("1970", "1970"),
        ("1937", "1937"),
        ("1936", None),  # may be 90 this year
        ("1936-12-31", None),
        ("1890-01-01T00:00:00Z", None),
        ("2026-03-02T09:00:00+01:00", "2026"),
        ("June 1970", None),
        ("19700605", None),
        (1970, None),
    ],
)
def test_year_of_when_it_tells_of_someone_over_89_then_it_is_cut(date: Any, year: str) -> None:
    assert year_of(date, 2026) == year


OVER = {
    "value": 90,
    "comparator": ">=",
    "unit": "a",
    "system": "http://unitsofmeasure.org",
    "code": "a",
}


@pytest.mark.parametrize(
    ("quantity", "is_age", "expected"),
    [
        ({"value": 89, "code": "a"}, True, {"value": 89, "code": "a"}),
        ({"value": 89.9, "code": "a"}, True, {"value": 89.9, "code": "a"}),
        ({"value": 90, "code": "a"}, True, OVER),
        ({"value": 103, "unit": "Years"}, False, OVER),
        ({"value": 1100, "code": "mo"}, True, OVER),
        ({"value": 40_000, "unit": "days"}, True, OVER),
        ({"value": 95}, True, OVER),
        ({"value": 95, "unit": "furlongs"}, True, OVER),
        ({"value": 95}, False, {"value": 95}),
        ({"value": 120, "code": "mm[Hg]"}, False, {"value": 120, "code": "mm[Hg]"}),
        ({"code": "a"}, True, {"code": "a"}),
        ({"value": -1, "code": "a"}, True, {"value": -1, "code": "a"}),
    ],
)
def test_aged_when_over_89_then_it_is_one_category(
    quantity: dict[str, Any], is_age: bool, expected: dict[str, Any]
) -> None:
    assert aged(quantity, is_age=is_age) == expected


def test_numbers_without_a_unit_when_they_can_be_an_age_then_they_are_cut() -> None:
    item = {"linkId": "age", "answer": [{"valueInteger": 93}, {"valueInteger": 40}]}
    kept = shown(
        {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [item]},
        "safe-harbor",
    )
    answers = kept["item"][0]["answer"]
    assert answers[1] == {"valueInteger": 40}
    assert "93" not in orjson.dumps(answers).decode()


@pytest.mark.parametrize("part", [False, True])
def test_observation_when_it_is_of_an_age_then_a_bare_number_is_one(part: bool) -> None:
    said = {
        "code": {"coding": [{"system": "http://loinc.org", "code": "30525-0"}]},
        "valueQuantity": {"value": 93},
    }
    whole = {"component": [said], "code": {"text": "x"}} if part else said
    kept = shown({"resourceType": "Observation", "status": "final", **whole}, "safe-harbor")
    assert (kept["component"][0] if part else kept)["valueQuantity"] == OVER


@pytest.mark.parametrize(
    ("unit", "is_shown"),
    [("mg/dL", True), ("\u00b5g", True), ("%", True), ("for Jane Doe", False), ("a@b", False)],
)
def test_units_when_they_are_no_units_then_they_are_cut(unit: str, is_shown: bool) -> None:
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    kept = shown({**observation, "valueQuantity": {"value": 1, "unit": unit}}, "safe-harbor")
    assert ("unit" in kept["valueQuantity"]) is is_shown


def home(**parts: Any) -> dict[str, Any]:
    return address({"line": ["1 Elm St"], "city": "X", **parts}, limited=False)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"postalCode": "02139"}, {"postalCode": "021"}),
        ({"postalCode": "021"}, {"postalCode": "021"}),
        ({"postalCode": "000"}, {"postalCode": "000"}),
        ({"postalCode": "03601"}, {"postalCode": "000"}),
        ({"postalCode": "20510-0001"}, {"postalCode": "000"}),
        ({"postalCode": "213"}, {"postalCode": "213"}),
        ({"postalCode": "2139"}, {}),
        ({"postalCode": "SW1A 1AA"}, {}),
        ({"postalCode": 2139}, {}),
        ({"state": "MA"}, {"state": "MA"}),
        ({"state": "Springfield, 1 Elm St"}, {}),
        ({"state": "MA", "country": "u.s.a."}, {"state": "MA", "country": "US"}),
        ({"state": "BE", "postalCode": "10115", "country": "DE"}, {"country": "DE"}),
        ({"country": "1 Elm St"}, {}),
    ],
)
def test_address_when_shown_then_nothing_smaller_than_a_state_but_three_digits(
    parts: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert home(**parts) == expected


def test_sparse_zip_codes_when_any_census_had_them_then_they_are_hidden() -> None:
    assert len(SPARSE_2000.split()) == 17  # of the guidance of HHS
    assert len(SPARSE_2020.split()) == 18
    assert {*SPARSE_2000.split(), *SPARSE_2010.split(), *SPARSE_2020.split()} == SPARSE_PREFIXES
    assert all(home(postalCode=f"{p}01") == {"postalCode": "000"} for p in SPARSE_PREFIXES)


# Laws.


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**7), view=st.sampled_from(["limited", "safe-harbor"]))
def test_views_are_valid_parts_and_change_nothing_twice(seed: int, view: View) -> None:
    random = Random(seed)
    resource = make_resource(random, random.choice(sorted(r4.resource_types())))
    try:
        once = shown(resource, view, WITHOUT_KEY)
    except Denied as denied:
        assert "modifier extension" in str(denied)  # noqa: PT017
        return
    assert list(structure_findings(once)) == []
    # What only said "masked" may be left out altogether the next time, and nothing else may change.
    again = deidentify(once, view, WITHOUT_KEY)
    assert list(structure_findings(again)) == []
    assert set(leaves(again)) <= set(leaves(once))


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def test_deidentify_when_it_is_no_resource_then_it_is_refused() -> None:
    with pytest.raises(Denied):
        deidentify({"resourceType": "Foo"}, "limited", SETTINGS)


def test_view_when_there_is_nothing_to_make_it_with_then_nothing_is_shown() -> None:
    with pytest.raises(Denied, match="nothing here can make it"):
        minimise(PATIENT, ReadRule(elements=("name",), view="safe-harbor"))


def test_view_when_it_nests_without_end_then_it_is_refused() -> None:
    item: dict[str, Any] = {"linkId": "1"}
    for _ in range(80):
        item = {"linkId": "1", "item": [item]}
    response = {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [item]}
    with pytest.raises(Denied, match="too deep"):
        deidentify(response, "safe-harbor", SETTINGS)
