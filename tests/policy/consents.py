"""Consents and questions for tests, small and synthetic."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from chartgate.model.consent import ConsentAnswer, ConsentMode, ConsentQuestion
from chartgate.model.label import Labels
from chartgate.policy.consent import compile_consents, decide_consent
from chartgate.policy.consent_codes import (
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY,
    CONSENT_SCOPE,
    LOINC,
    PARTICIPATION,
)

PATIENT = "Patient/7"
AT = datetime(2026, 6, 15, 12, tzinfo=UTC)
MODES: tuple[ConsentMode, ...] = ("opt-in", "opt-out", "opt-in-with-exceptions", "not-needed")
Json = dict[str, Any]

QUESTION: Mapping[str, Any] = {
    "patient": PATIENT,
    "purpose": "TREAT",
    "actors": frozenset({"Organization/clinic", "client:scribe"}),
    "resource_type": "Observation",
    "reference": "Observation/1",
    "codes": frozenset({(LOINC, "2339-0")}),
    "mentions": frozenset({(LOINC, "2339-0"), (LOINC, "8480-6")}),
    "authors": frozenset({"Practitioner/a"}),
    "related": frozenset({PATIENT, "Encounter/3", "Practitioner/a"}),
    "dated": (datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 1, 9, tzinfo=UTC)),
    "at": AT,
}


def asking(**changes: Any) -> ConsentQuestion:
    """May the clinic have a glucose value for treatment?"""
    return ConsentQuestion(**{**QUESTION, **changes})


def labelled(confidentiality: str = "N", *sensitivities: str, **more: Any) -> Labels:
    """Labels of a resource."""
    return Labels(confidentiality=confidentiality, sensitivities=frozenset(sensitivities), **more)


def purposes(*codes: str) -> list[Json]:
    """Purposes of use."""
    return [{"system": ACT_REASON, "code": code} for code in codes]


def recipient(reference: str) -> Json:
    """A provision's actor that receives."""
    role = {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]}
    return {"role": role, "reference": {"reference": reference}}


def label_codes(*codes: str) -> list[Json]:
    """Security labels: one letter is a confidentiality, more are a sensitivity."""
    systems = {True: CONFIDENTIALITY, False: ACT_CODE}
    return [{"system": systems[len(code) == 1], "code": code} for code in codes]


def provision(type_: str = "permit", *inner: Json, **elements: Any) -> Json:
    """A provision; `class_` is class."""
    named = {name.rstrip("_"): value for name, value in elements.items()}
    return {"type": type_, **named, **({"provision": list(inner)} if inner else {})}


def consent(root: Json | None = None, **changes: Any) -> Json:
    """An active privacy consent of the patient; None takes an element away."""
    whole: Json = {
        "resourceType": "Consent",
        "id": "c1",
        "status": "active",
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": LOINC, "code": "59284-0"}]}],
        "patient": {"reference": PATIENT},
        "dateTime": "2026-01-10",
        "performer": [{"reference": PATIENT}],
        "organization": [{"reference": "Organization/clinic"}],
        "sourceReference": {"reference": "DocumentReference/form"},
        "policy": [{"uri": "https://example.org/policy"}],
        "provision": root if root is not None else provision(),
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def answered(
    *consents: Json | bytes,
    mode: ConsentMode = "opt-in",
    complete: bool = True,
    exceptions: tuple[str, ...] = (),
    **changes: Any,
) -> ConsentAnswer:
    """What these consents say to the question."""
    bodies = [each if isinstance(each, bytes) else orjson.dumps(each) for each in consents]
    compiled = compile_consents(bodies, complete=complete)
    return decide_consent(compiled, asking(**changes), mode, exceptions=exceptions)


def permitted(*consents: Json | bytes, **changes: Any) -> bool:
    """Whether they permit it, where nothing is shared without a consent."""
    return answered(*consents, **changes).permitted
