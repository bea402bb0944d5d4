"""Checks of how a charter shows what it lists, each with its sentence."""

from typing import Any

import pytest

from chartgate.policy.charter_sight import sight_findings, view_findings
from tests.policy.test_charters import BOOKING, complaint, parsed

PATIENT = "elements: [name, birthDate, telecom, communication]"


def charter(patient: str, more: str = "") -> str:
    assert PATIENT in BOOKING
    return BOOKING.replace(PATIENT, patient) + more


def test_read_rule_when_it_says_nothing_more_then_all_is_as_it_was() -> None:
    rule = parsed(BOOKING).reads["Patient"]
    assert (rule.sensitive, rule.text, rule.view) == ((), "keep", "identified")
    assert (rule.extensions, rule.identifiers) == (None, None)


def test_read_rule_when_it_says_how_then_the_rule_has_it() -> None:
    text = charter(
        "elements: [name, extension]\n    sensitive: [PSY, R]\n    text: cut\n"
        "    extensions: [http://x/race]\n    identifiers: [http://npi]"
    )
    rule = parsed(text).reads["Patient"]
    assert (rule.sensitive, rule.text) == (("PSY", "R"), "cut")
    assert (rule.extensions, rule.identifiers) == (("http://x/race",), ("http://npi",))


def test_elements_all_when_no_system_is_named_then_no_identifier_is_meant() -> None:
    assert parsed(charter("elements: all")).reads["Patient"].identifiers == ()
    named = parsed(charter("elements: all\n    identifiers: [http://npi]"))
    assert named.reads["Patient"].identifiers == ("http://npi",)


def test_view_when_limited_then_its_agreement_is_in_the_charter() -> None:
    text = charter(f"{PATIENT}\n    view: limited", "data_use_agreement: DUA-2026-014\n")
    assert parsed(text).data_use_agreement == "DUA-2026-014"
    assert parsed(text).reads["Patient"].view == "limited"


@pytest.mark.parametrize(
    ("patient", "sentence"),
    [
        (
            "elements: [name]\n    sensitive: [PYS]",
            "reads.Patient.sensitive: there is no label PYS; did you mean",
        ),
        (
            "elements: [name]\n    text: hide",
            "reads.Patient.text must be keep, structured-only or cut",
        ),
        ("elements: [name]\n    view: anonymous", "must be identified, limited or safe-harbor"),
        (
            "elements: [name, extension]",
            "extension can hold anything; name the URLs that are meant under the key extensions",
        ),
        (
            "elements: [name, modifierExtension]",
            "modifierExtension can hold anything",
        ),
        (
            "elements: [name]\n    extensions: [ombCategory]",
            "ombCategory must be a whole URL",
        ),
        ("elements: [name]\n    view: limited", "needs a data use agreement"),
        (
            "elements: [name, identifier]\n    identifiers: [http://npi]\n    search: [identifier]",
            "identifier looks at what only the identifiers of some systems are shown of",
        ),
        (
            "elements: [name, birthDate]\n    view: safe-harbor\n    search: [birthdate]",
            "birthdate looks at what the view safe-harbor does not show as it is stored",
        ),
        (
            "elements: [name]\n    view: safe-harbor\n    search: [family]",
            "family looks at what the view safe-harbor does not show",
        ),
        (
            "elements: [telecom]\n    view: safe-harbor\n    search: [phone]",
            "phone looks at what the view safe-harbor does not show",
        ),
        (
            "elements: [generalPractitioner]\n    view: safe-harbor\n    search: [general-practitioner]",
            "general-practitioner looks at what the view",
        ),
    ],
)
def test_read_rule_when_it_shows_too_much_then_a_sentence_says_so(
    patient: str, sentence: str
) -> None:
    assert sentence in complaint(charter(patient))


@pytest.mark.parametrize(
    "patient",
    [
        "elements: [gender]\n    view: safe-harbor\n    search: [gender]",
        "elements: [name]\n    text: cut\n    search: [family]",
        "elements: [identifier]\n    search: [identifier]",
        "elements: [name]\n    sensitive: [V, PSYTHPN, BH]",
    ],
)
def test_read_rule_when_what_is_searched_is_shown_then_it_is_right(patient: str) -> None:
    parsed(charter(patient))


def test_text_when_it_is_cut_then_it_is_not_searched_either() -> None:
    text = BOOKING.replace(
        "reads:\n",
        "reads:\n  Library: {elements: [description, status], text: cut, search: [description]}\n",
    )
    assert "description looks at what the rule for text cuts" in complaint(text)


def test_writes_when_they_are_about_what_is_de_identified_then_it_is_refused() -> None:
    assert "  Slot:\n" in BOOKING
    text = BOOKING.replace("  Slot:\n", "  Slot:\n    view: safe-harbor\n", 1)
    assert "what nobody can tell apart cannot be changed" in complaint(text)


def seen(rule: dict[str, Any], type_: str = "Patient") -> list[str]:
    return list(sight_findings(type_, {"elements": ["name"], **rule}))


HIDDEN = "what may not be read may not be searched"


@pytest.mark.parametrize(
    ("type_", "rule", "hidden"),
    [
        # By name: the kind of parameter, the types that it looks at, and how they are shown.
        ("Patient", {"search": ["family", "birthdate", "identifier", "gender", "phone"]}, {}),
        ("Patient", {"search": ["family", "birthdate", "identifier", "gender", "phone"],
                     "view": "limited"},
         {"family": "the view limited does not show as it is stored",
          "identifier": "the view limited does not show",
          "phone": "the view limited does not show"}),
        ("Patient", {"search": ["family", "birthdate", "identifier", "gender", "phone"],
                     "view": "safe-harbor"},
         {"family": "the view safe-harbor does not show as it is stored",
          "birthdate": "the view safe-harbor does not show as it is stored",
          "identifier": "the view safe-harbor does not show",
          "phone": "the view safe-harbor does not show"}),
        ("Patient", {"search": ["identifier", "phone"], "identifiers": []},
         {"identifier": "only the identifiers of some systems are shown of"}),
        ("Location", {"search": ["name", "identifier", "status"], "text": "cut"},
         {"name": "the rule for text cuts"}),
        ("Location", {"search": ["name", "status"], "text": "structured-only"},
         {"name": "the rule for text cuts"}),
        ("Location", {"search": ["name"], "text": "keep"}, {}),
        ("Patient", {"search": ["family", "gender"], "text": "cut"}, {}),  # a name is no free text
        ("Patient", {"search": ["_id", "_lastUpdated", "nonsense"], "view": "safe-harbor"}, {}),
        ("Observation", {"search": ["code", "value-string"], "text": "structured-only"},
         {"value-string": "the rule for text cuts"}),
    ],
)  # fmt: skip
def test_what_is_not_shown_as_it_is_may_not_be_searched(
    type_: str, rule: dict[str, Any], hidden: dict[str, str]
) -> None:
    where = f"reads.{type_}.search"
    found = seen(rule, type_)
    assert found == [
        f"{where}: {name} looks at what {why}; {HIDDEN}" for name, why in hidden.items()
    ]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"sensitive": ["PSY", "R", "V"]}, []),
        ({"sensitive": ["PSY", "N", "XX"]},
         ["reads.Patient.sensitive: there is no label N", "reads.Patient.sensitive: there is no label XX"]),
        ({"elements": ["extension"]},
         ["reads.Patient.elements: extension can hold anything; name the URLs that are meant"]),
        ({"elements": ["modifierExtension", "name"]},
         ["reads.Patient.elements: modifierExtension can hold anything; name the URLs"]),
        ({"elements": ["extension", "modifierExtension"]},
         ["reads.Patient.elements: extension can hold anything"]),
        ({"elements": ["extension"], "extensions": []}, []),
        ({"elements": "all"}, []),
        ({"extensions": ["race", "http://x/race", "urn:x"]},
         ["reads.Patient.extensions: race must be a whole URL; its parts are shown with it"]),
    ],
)  # fmt: skip
def test_what_a_rule_lists_is_there_and_is_meant(rule: dict[str, Any], told: list[str]) -> None:
    found = seen(rule)
    assert len(found) == len(told)
    assert all(f.startswith(t) for f, t in zip(found, told, strict=True))


NEEDS = (
    "reads.A.view: a limited data set needs a data use agreement (45 CFR 164.514(e)(4)); name it "
    "under the key data_use_agreement"
)
TOLD_APART = "which is shown de-identified; what nobody can tell apart cannot be changed"


@pytest.mark.parametrize(
    ("charter_", "told"),
    [
        ({"reads": {"A": {}, "B": {"view": "identified"}}}, []),
        ({"reads": {"B": {"view": "limited"}, "A": {"view": "limited"}}}, [NEEDS]),
        ({"reads": {"A": {"view": "limited"}}, "data_use_agreement": ""}, [NEEDS]),
        ({"reads": {"A": {"view": "limited"}}, "data_use_agreement": "D"}, []),
        ({"reads": {"A": {"view": "safe-harbor"}}}, []),
        ({"reads": {"A": {"view": "safe-harbor"}},
          "proposes": {"x": {"writes": ["patch A.status", "create B", "create A"]},
                       "y": {"writes": ["update A"]}}},
         [f"proposes.x.writes: patch A.status is about a A, {TOLD_APART}",
          f"proposes.x.writes: create A is about a A, {TOLD_APART}",
          f"proposes.y.writes: update A is about a A, {TOLD_APART}"]),
        ({"reads": {"A": {}}, "proposes": {"x": {"writes": ["patch A.status"]}}}, []),
    ],
)  # fmt: skip
def test_view_asks_for_an_agreement_and_changes_nothing(
    charter_: dict[str, Any], told: list[str]
) -> None:
    assert list(view_findings(charter_)) == told
