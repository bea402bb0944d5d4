"""IHE Privacy Consent on FHIR: each example Consent with its notes, as a table of decisions.

Read where it lies, beside the project; nothing of it is copied. Each row is a question to one
consent and what its notes say must come of it, where nothing is shared without a consent.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from chartgate.model.consent import ConsentQuestion
from chartgate.model.label import CONFIDENTIALITY, Labels
from chartgate.policy.consent import compile_consents, decide_consent
from chartgate.policy.consent_codes import ACT_CODE
from chartgate.policy.consent_codes import CONFIDENTIALITY as CONFIDENTIALITY_SYSTEM
from chartgate.policy.consent_question import question_about

CORPORA = Path(__file__).parents[3] / "shared" / "corpora" / "consent"
PCF = CORPORA / "ihe-pcf"
CONSULTS = CORPORA / "sensitivity-rules" / "test"
pytestmark = pytest.mark.skipif(
    not PCF.is_dir(), reason="the corpus of IHE PCF examples is not beside this checkout"
)

DOCTOR, CLERK, RESEARCHER, PRIVILEGED = (
    "Practitioner/ex-practitioner",
    "Practitioner/ex-clerk",
    "Organization/ex-org-researcher",
    "Group/ex-privilegedUsers",
)
AT = datetime(2022, 10, 1, 12, tzinfo=UTC)  # the consents are of June 2022
TPO = ("TREAT", "HPAYMT", "HOPERAT")
FOOBAR = "http://example.org/policies/purposeOfUse|FooBar"
SUGAR, ALCOHOL, PRESSURE, WEIGHT, VISIT, SELF = (
    "Observation-ex-bloodSugar",
    "Observation-ex-alcoholUse",
    "Observation-ex-bloodPressure",
    "Observation-ex-weight",
    "Encounter-ex-encounter",
    "Patient-ex-patient",
)


class Row(NamedTuple):
    consent: str
    expected: bool
    what: str = SUGAR
    purpose: str = "TREAT"
    actors: tuple[str, ...] = (CLERK,)
    at: datetime = AT
    labels: tuple[str, ...] = ()  # instead of those that the resource has
    changed: tuple[tuple[str, Any], ...] = ()  # elements of the resource


def rows() -> Iterator[Row]:
    yield from _basic()
    yield from _intermediate()
    yield from _advanced()


def _basic() -> Iterator[Row]:
    for purpose in TPO:
        yield Row("basic-treat-infant", True, purpose=purpose)
        yield Row("basic-reject", False, purpose=purpose)
        yield Row("expired-treat", True, purpose=purpose)
        yield Row("expired-treat", False, purpose=purpose, at=datetime(2023, 1, 2, tzinfo=UTC))
    yield Row("basic-treat-infant", False, purpose="HRESCH")
    yield Row("basic-treat-infant", False, purpose="HMARKT")
    yield Row("basic-treat-infant", True, purpose="HQUALIMP")  # lies within operations
    yield Row("basic-treat-infant", True, what=PRESSURE, labels=("R", "PSY"))  # no label is asked
    yield Row("basic-treat-infant", False, what=ALCOHOL)  # part 2 needs more than a basic one
    yield Row("basic-reject", False, purpose="HRESCH")
    yield Row("basic-reject", False, purpose="BTG")
    # Ends on 31 December 2022: over in the east by 10:00 of that day's universal time, nowhere
    # before, and everywhere by noon of the next.
    edge = datetime(2022, 12, 31, 10, tzinfo=UTC)
    yield Row("expired-treat", True, at=edge - timedelta(microseconds=1))
    yield Row("expired-treat", False, at=edge)
    yield Row("expired-treat", False, at=datetime(2026, 1, 1, tzinfo=UTC))
    yield Row("expired-treat", False, purpose="HRESCH")


def _intermediate() -> Iterator[Row]:
    data = "intermediate-data"
    for listed in (SUGAR, PRESSURE, WEIGHT, "Observation-ex-weight-2", VISIT):
        yield Row(data, True, what=listed)
    yield Row(data, False, what=SELF)  # nothing but the data that are listed
    yield Row(data, False, changed=(("id", "another"),))
    yield Row(data, False, purpose="HRESCH")
    author = "intermediate-not-authoredby"
    yield Row(author, True)  # by ex-author
    by = (("performer", [{"reference": DOCTOR}]),)
    yield Row(author, False, changed=by)
    both = (("performer", [{"reference": "Practitioner/ex-author"}, {"reference": DOCTOR}]),)
    yield Row(author, False, changed=both)
    yield Row(author, False, changed=(("performer", [{"display": "somebody"}]),))
    yield Row(author, True, what=SELF)
    yield Row(author, False, purpose="HRESCH")
    encounter = "intermediate-not-encounter"
    for related in (SUGAR, PRESSURE, WEIGHT, VISIT):
        yield Row(encounter, False, what=related)
    yield Row(encounter, True, changed=(("encounter", {"reference": "Encounter/another"}),))
    yield Row(encounter, True, what=SELF)
    yield Row(encounter, False, what=SELF, purpose="HRESCH")
    research = "intermediate-purpose"
    yield Row(research, True, purpose=FOOBAR, actors=(RESEARCHER,))
    yield Row(research, False, purpose=FOOBAR)  # not of that organization
    yield Row(research, False, actors=(RESEARCHER,))  # for treatment
    yield Row(research, False, purpose="FooBar", actors=(RESEARCHER,))  # a code of another system
    yield Row(research, False, purpose="HRESCH", actors=(RESEARCHER,))
    glass = "dissent:intermediate-break-glass"
    yield Row(glass, True, purpose="BTG", actors=(DOCTOR, PRIVILEGED))
    yield Row(glass, False, purpose="BTG", actors=(CLERK,))  # not authorized to break it
    yield Row(glass, False, actors=(DOCTOR, PRIVILEGED))  # has not declared it
    yield Row(glass, False, purpose="ETREAT", actors=(DOCTOR, PRIVILEGED))


def _advanced() -> Iterator[Row]:
    mind = ("R", "PSY")
    for name in ("", "-break-glass-restricted", "-focused-psy", "-not-restricted"):
        normal = f"advanced-normal{name}"
        for purpose in TPO:
            yield Row(normal, True, purpose=purpose)
        yield Row(normal, False, labels=("R",))
        yield Row(normal, False, labels=("V",))
        yield Row(normal, False, labels=("R", "HIV"))
        yield Row(normal, False, labels=("N", "SDV"))
        yield Row(normal, True, labels=("L",))
        yield Row(normal, False, labels=mind)
        yield Row(normal, False, what=ALCOHOL)
        yield Row(normal, False, purpose="HRESCH")
    glass = "advanced-normal-break-glass-restricted"
    yield Row(glass, True, purpose="BTG", actors=(DOCTOR, PRIVILEGED), labels=mind)
    yield Row(glass, True, purpose="BTG", actors=(DOCTOR, PRIVILEGED), labels=("R",))
    yield Row(glass, True, purpose="BTG", actors=(DOCTOR, PRIVILEGED))
    yield Row(glass, False, purpose="BTG", actors=(DOCTOR, PRIVILEGED), labels=("V",))
    yield Row(glass, False, purpose="BTG", labels=mind)  # not authorized
    yield Row(glass, False, actors=(DOCTOR, PRIVILEGED), labels=mind)  # not declared
    focused = "advanced-normal-focused-psy"
    yield Row(focused, True, actors=(DOCTOR,), labels=mind)
    yield Row(focused, True, actors=(DOCTOR,))
    yield Row(focused, False, actors=(DOCTOR,), labels=("R", "HIV"))
    yield Row(focused, False, actors=(DOCTOR,), labels=("R", "PSY", "HIV"))
    yield Row(focused, False, actors=(DOCTOR,), labels=("R",))
    yield Row(focused, False, actors=(DOCTOR,), labels=mind, purpose="HRESCH")


ROWS = list(rows())


def file_of(name: str) -> str:
    kind, _, rest = name.rpartition(":")
    return f"Consent-ex-{kind or 'consent'}-{rest}.json"


@cache
def read(name: str) -> bytes:
    return (PCF / name).read_bytes()


def labels_of(resource: dict[str, Any]) -> Labels:
    """As the resource says them itself."""
    codings = resource.get("meta", {}).get("security", [])
    levels = [c["code"] for c in codings if c["system"] == CONFIDENTIALITY_SYSTEM]
    return Labels(
        confidentiality=max(levels, key=CONFIDENTIALITY.index, default="N"),
        sensitivities=frozenset(c["code"] for c in codings if c["system"] == ACT_CODE),
    )


def question_of(row: Row) -> ConsentQuestion:
    resource = {**orjson.loads(read(f"{row.what}.json")), **dict(row.changed)}
    labels = labels_of(resource)
    if row.labels:
        labels = Labels(confidentiality=row.labels[0], sensitivities=frozenset(row.labels[1:]))
    return question_about(
        resource,
        patient="Patient/ex-patient",
        purpose=row.purpose,
        actors=frozenset(row.actors),
        labels=labels,
        at=row.at,
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.consent}-{row.purpose[-6:]}")
def test_consent_says_what_its_notes_say(row: Row) -> None:
    found = decide_consent(
        compile_consents([read(file_of(row.consent))]), question_of(row), "opt-in"
    )
    assert found.permitted is row.expected, found.sentence


def test_each_consent_of_the_corpus_has_rows_that_permit_or_deny_and_an_edge() -> None:
    names = {path.name for path in PCF.glob("Consent-*.json")}
    for name in names:
        own = [row for row in ROWS if file_of(row.consent) == name]
        assert len(own) >= 3, name
        assert any(not row.expected for row in own), name
        assert any(row.expected for row in own) or "reject" in name, name
    assert {file_of(row.consent) for row in ROWS} == names
    assert len(names) == 12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.consent}-{row.purpose[-6:]}")
def test_a_dissent_beside_it_always_wins(row: Row) -> None:
    dissent = orjson.dumps({**orjson.loads(read(file_of("basic-reject"))), "id": "no"})
    if not row.purpose.startswith("http") and row.purpose != "HRESCH" and row.purpose != "HMARKT":
        both = compile_consents([read(file_of(row.consent)), dissent])
        assert not decide_consent(both, question_of(row), "opt-in").permitted


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.consent}-{row.purpose[-6:]}")
def test_another_patient_gains_nothing_by_it(row: Row) -> None:
    other = replace(question_of(row), patient="Patient/ex-mother")
    assert not decide_consent(
        compile_consents([read(file_of(row.consent))]), other, "opt-in"
    ).permitted


def consult(name: str) -> dict[str, Any]:
    context: dict[str, Any] = orjson.loads((CONSULTS / name).read_bytes())["context"]
    return context


def asked_by(context: dict[str, Any], resource: dict[str, Any]) -> ConsentQuestion:
    """The question of a consult request, which names no purpose."""
    return question_about(
        resource,
        patient=context["patientId"][0]["value"],
        purpose="",
        actors=frozenset(actor["value"] for actor in context["actor"]),
        labels=Labels(),
        at=AT,
    )


def consent_of(context: dict[str, Any], type_: str, **more: Any) -> bytes:
    """An example's consent as this patient's, for any purpose."""
    whole = orjson.loads(read(file_of("basic-treat-infant")))
    patient = {"reference": context["patientId"][0]["value"]}
    return orjson.dumps({**whole, "patient": patient, "provision": {"type": type_, **more}})


@pytest.mark.parametrize(
    "name",
    ["example-request-permit.json", "example-request-deny.json", "example-request-no-consent-found.json"],
)  # fmt: skip
def test_consult_requests(name: str) -> None:
    """Each asks for one recipient and no purpose: a consent to that recipient permits, one for a
    purpose does not, a dissent denies, and nothing found is nothing permitted."""
    context = consult(name)
    content = context.get("content", {"entry": [{"resource": {"resourceType": "Observation"}}]})
    actor = {
        "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
        "reference": {"reference": context["actor"][0]["value"]},
    }  # fmt: skip
    for entry in content["entry"]:
        question = asked_by(context, entry["resource"])

        def says(*bodies: bytes, question: ConsentQuestion = question) -> bool:
            return decide_consent(compile_consents(bodies), question, "opt-in").permitted

        yes = consent_of(context, "permit", actor=[actor])
        assert says(yes)
        assert not says(yes, consent_of(context, "deny"))
        assert not says(consent_of(context, "deny", actor=[actor]))
        assert not says(consent_of(context, "permit", purpose=[
            {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}
        ]))  # fmt: skip
        assert not says()
        assert not decide_consent(None, question, "opt-out").permitted
