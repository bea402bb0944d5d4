"""Reading a Consent: what is understood, and that everything else makes it deny, and says why."""

from copy import deepcopy
from typing import Any

import pytest

from chartgate.policy.consent_parse import Directive, parse_consent
from tests.policy.consents import Json, consent, label_codes, provision, purposes, recipient


def parsed(resource: Any) -> Directive:
    found = parse_consent(resource)
    assert found is not None
    return found


def changed(path: str, value: Any) -> Json:
    """A sound consent with one place of it changed; a value of None takes it away."""
    whole = deepcopy(
        consent(
            provision(
                "permit",
                provision("deny", purpose=purposes("HRESCH")),
                period={"start": "2026-01-01", "end": "2027-01-01"},
                actor=[recipient("Organization/clinic")],
                data=[{"meaning": "instance", "reference": {"reference": "Encounter/1"}}],
                securityLabel=label_codes("N"),
            )
        )
    )
    *way, last = path.split(".")
    here: Any = whole
    for step in way:
        here = here[int(step)] if isinstance(here, list) else here[step]
    place: Any = int(last) if isinstance(here, list) else last
    if value is None:
        del here[place]
    else:
        here[place] = value
    return whole


def test_a_sound_consent_is_read() -> None:
    found = parsed(changed("id", "c7"))
    assert (found.id, found.patient, found.unreadable) == ("Consent/c7", "Patient/7", "")
    assert (found.standing, found.permits, found.discloser, found.signed) == (
        "in-force",
        True,
        True,
        True,
    )
    assert found.root is not None
    assert [each.path for each in found.root.inner] == ["0.0"]


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("status", None, "its status is none of FHIR's"),
        ("status", "aktiv", "its status is none of FHIR's"),
        ("status", ["active"], "its status is none of FHIR's"),
        ("scope", None, "Consent.scope is required"),
        ("scope", {"text": "privacy"}, "its scope is none that is known"),
        ("scope", {"coding": [{"system": "https://own", "code": "patient-privacy"}]}, "its scope"),
        ("category", None, "Consent.category is required"),
        ("patient", None, "does not refer to its patient"),
        ("patient", {"display": "Ann"}, "does not refer to its patient"),
        ("policy", None, "it names no policy"),
        ("provision.type", None, "it says neither yes nor no"),
        ("provision.provision.0.type", None, "a provision says neither permit nor deny"),
        ("provision.provision.0.purpose", [], "must not be empty"),
        ("provision.period", {}, "must not be empty"),
        ("provision.period", {"start": "2027-01-01", "end": "2026-01-01"}, "ends before it starts"),
        ("provision.period.end", "31.12.2026", "Consent.provision.period.end must be of the type"),
        ("provision.period.end", "2026-02-30", "a date in it is none"),
        ("provision.period.end", None, ""),
        ("provision.period._end", {"extension": [{"url": "u", "valueCode": "masked"}]}, ""),
        ("provision.actor.0.reference", None, "reference is required"),
        ("provision.actor.0.role", None, "role is required"),
        ("provision.data.0.meaning", "about", "must be one of the codes"),
        ("provision.documentType", [{"code": "x"}], "has no element documentType"),
        ("provision.modifierExtension", [{"url": "u", "valueBoolean": True}], "modifier extension"),
        ("provision.actor.0.modifierExtension", [{"url": "u", "valueCode": "x"}], "modifier extension"),
        ("modifierExtension", [{"url": "u", "valueBoolean": True}], "modifier extension"),
        ("implicitRules", "https://example.org/rules", "implicit rules"),
        ("provision.securityLabel.0", {"system": "s"}, ""),
        ("dateTime", "yesterday", "Consent.dateTime must be of the type"),
        ("decision", "permit", "has no element decision"),  # of R5
    ],
)  # fmt: skip
def test_what_is_not_understood_is_said(path: str, value: Any, why: str) -> None:
    found = parsed(changed(path, value))
    assert bool(found.unreadable) is bool(why)
    assert why in found.unreadable


def test_end_that_is_left_out_with_an_extension_is_no_open_end() -> None:
    whole = changed("provision.period.end", None)
    whole["provision"]["period"]["_end"] = {"extension": [{"url": "u", "valueCode": "masked"}]}
    assert "left out, with an extension in its place" in parsed(whole).unreadable


@pytest.mark.parametrize("value", [None, [None]])
def test_null_is_not_taken_for_nothing(value: Any) -> None:
    whole = changed("id", "c1")
    whole["provision"]["purpose"] = value
    assert "null" in parsed(whole).unreadable


def test_what_it_says_of_itself_is_not_quoted() -> None:
    whole = changed("status", "CANARY-7")
    whole["provision"]["CANARYFIELD"] = "CANARY-8"
    assert "CANARY" not in parsed(whole).unreadable


def test_narrative_and_plain_extensions_change_nothing() -> None:
    whole = changed("extension", [{"url": "https://example.org/x", "valueString": "y"}])
    whole["text"] = {"status": "generated", "div": "<div>deny everything</div>"}
    assert parsed(whole).unreadable == ""
