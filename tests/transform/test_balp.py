"""Every action and outcome as FHIR AuditEvents: R4, and under the profiles that they claim."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.r4_structure import is_well_formed, structure_findings
from chartgate.model.audit import ACTIONS, AuditEvent, Outcome
from chartgate.transform.balp.agents import Place
from chartgate.transform.balp.codes import OUR_ACTION, OUR_REASON
from chartgate.transform.balp.events import fhir_events
from chartgate.transform.balp.patterns import PATTERNS
from tests.transform.balp_profiles import BALP, findings

LEAF = "ab" * 32
PLACE = Place(
    name="chartgate.local/ledger",
    url="https://gate.example",
    systems={"north-clinic": "https://ehr.example/fhir"},
    vendors={"client:slot-picker": "Pickers Ltd"},
)
AT = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
needs_corpus = pytest.mark.skipif(not BALP.is_dir(), reason="needs the corpus audit/ihe-balp")


def event(action: str = "fhir.read", **fields: Any) -> AuditEvent:
    known: dict[str, Any] = {
        "agent": "client:slot-picker",
        "entities": ("Slot/12",),
        "patient": "Patient/7",
        "site": "north-clinic",
        "charter": "clinic-booking",
        "charter_digest": "cd" * 32,
        "purpose": "TREAT",
        "interaction": "0f0e0d0c-0000-4000-8000-000000000001",
        "rule": "clinic-booking/read",
        "decision": "ef" * 16,
        "network": "192.0.2.9",
        "request": "0123456789abcdef",
    }
    return AuditEvent(recorded=AT, action=action, **known | fields)


def check(made: AuditEvent) -> tuple[dict[str, Any], ...]:
    """Well-formed, and under each profile claimed."""
    resources = fhir_events(made, leaf=LEAF, place=PLACE)
    assert resources[0]["id"] == LEAF
    assert len({r["id"] for r in resources}) == len(resources)
    for resource in resources:
        assert is_well_formed(resource), list(structure_findings(resource))
        for url in resource.get("meta", {}).get("profile", ()):
            assert findings(resource, url) == [], url
    return resources


def claims(resource: dict[str, Any]) -> list[str]:
    return [u.rpartition("IHE.")[2] for u in resource.get("meta", {}).get("profile", ())]


AGENTS = ("client:slot-picker", "person:sofia", "process:worker/1", "unknown")


@needs_corpus
@pytest.mark.parametrize("outcome", list(Outcome), ids=lambda outcome: outcome.value)
@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_each_action_with_each_outcome_is_r4_and_holds_under_its_profiles(
    action: str, outcome: Outcome
) -> None:
    """Full and bare, of each kind of agent."""
    reason = None if outcome is Outcome.SUCCESS else "policy"
    full: dict[str, Any] = {
        "outcome": outcome,
        "reason": reason,
        "details": (("writes", "create patch"), ("versions", "Task/1/1 Slot/12/4")),
        "labels": ("R", "PSY"),
        "disclosed": "aa" * 32,
        "consent": "bb" * 32,
    }
    bare: dict[str, Any] = dict.fromkeys(
        ("patient", "site", "charter", "charter_digest", "purpose", "interaction", "rule",
         "decision", "network", "request")
    )  # fmt: skip
    for agent in AGENTS:
        full_ones = check(event(action, agent=agent, **full))
        assert {r["outcome"] for r in full_ones} == {
            {"success": "0", "failed": "4", "denied": "8"}[outcome.value]
        }
        check(event(action, agent=agent, **full | {"patient": None, "consent": None}))
        check(event(action, agent=agent, **bare | {"outcome": outcome, "entities": ()}))


TEXTS = st.text(max_size=20) | st.none()
REFERENCES = st.sampled_from(["Slot/12", "Proposal/3f", "Slot", "Charter/*", "Message/7", "x/y/z"])


@needs_corpus
@given(
    action=st.sampled_from(sorted(ACTIONS)),
    outcome=st.sampled_from(Outcome),
    agent=st.sampled_from(AGENTS),
    entities=st.lists(REFERENCES, max_size=4).map(tuple),
    patient=st.sampled_from([None, "Patient/7"]),
    patients=st.sampled_from([None, ("Patient/1", "Patient/2")]),
    purpose=st.sampled_from([None, "TREAT", "HRESCH", "BTG"]),
    network=st.sampled_from([None, "192.0.2.1", "::1", "host", "https://x.example"]),
    reason=TEXTS,
    details=st.dictionaries(st.sampled_from(["token", "writes", "versions", "n"]), st.text()),
    labels=st.sampled_from([None, (), ("V",), ("N", "HIV", "NORDSCLCD")]),
    consent=st.sampled_from([None, "aa" * 32]),
)
def test_whatever_an_event_says_its_resources_hold(
    details: dict[str, str], patient: str | None, patients: Any, **fields: Any
) -> None:
    """No text of an event, however odd, makes a resource that a repository would refuse."""
    odd = {k: v for k, v in details.items() if k != "token" or v.strip()}
    check(
        event(
            **fields,
            patient=None if patients else patient,
            patients=patients,
            details=tuple(odd.items()),
        )
    )


@needs_corpus
def test_a_read_is_a_patient_read_with_all_who_took_part() -> None:
    [resource] = check(event(labels=("R",), disclosed="aa" * 32))
    assert claims(resource) == ["BasicAudit.PatientRead"]
    assert resource["action"] == "R"
    assert [s["code"] for s in resource["subtype"]] == ["read", "fhir.read"]
    client, server = resource["agent"]
    assert client["network"] == {"address": "192.0.2.9", "type": "2"}
    assert client["who"]["identifier"]["value"] == "slot-picker"
    assert server["who"] == resource["source"]["observer"]
    assert resource["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"
    whats = [e.get("what", {}) for e in resource["entity"]]
    assert {"reference": "Slot/12"} in whats
    assert {"reference": "Patient/7"} in whats
    assert {"identifier": {"value": "0123456789abcdef"}} in whats
    [decision] = [e for e in resource["entity"] if e["type"]["code"] == "decision"]
    said = {d["type"]: d["valueString"] for d in decision["detail"]}
    assert said["rule"] == "clinic-booking/read"
    assert said["disclosed"] == "aa" * 32


@needs_corpus
def test_a_read_of_nobodys_data_claims_the_pattern_without_patient() -> None:
    [resource] = check(event(patient=None))
    assert claims(resource) == ["BasicAudit.Read"]


@needs_corpus
def test_a_search_that_found_several_patients_is_told_once_for_each_and_without_values() -> None:
    found = ("Appointment", "Appointment/1", "Appointment/2")
    resources = check(
        event(
            "fhir.search",
            entities=found,
            patient=None,
            patients=("Patient/1", "Patient/2"),
            details=(("parameters", "date,patient"),),
        )
    )
    assert [claims(r) for r in resources] == [["BasicAudit.PatientQuery"]] * 2
    about = [
        e["what"]["reference"] for r in resources for e in r["entity"] if e["type"]["code"] == "1"
    ]
    assert about == ["Patient/1", "Patient/2"]
    [query] = [e["query"] for e in resources[0]["entity"] if "query" in e]
    asked = "GET https://gate.example/fhir/north-clinic/Appointment?date=&patient="
    assert base64.b64decode(query).decode() == asked


@needs_corpus
def test_a_commit_is_told_once_for_each_resource_that_was_written() -> None:
    resources = check(
        event(
            "proposal.commit",
            agent="process:worker",
            entities=("Proposal/3f", "Appointment/9", "Slot/12"),
            details=(
                ("writes", "create patch delete"),
                ("versions", "Appointment/9/1 Slot/12/5 Task/4/None"),
            ),
        )
    )
    assert [claims(r) for r in resources] == [
        ["BasicAudit.PatientCreate"],
        ["BasicAudit.PatientUpdate"],
        ["BasicAudit.PatientDelete"],
    ]
    assert [r["action"] for r in resources] == ["C", "U", "D"]
    assert [r["agent"][1]["network"]["address"] for r in resources] == (
        ["https://ehr.example/fhir"] * 3
    )


@needs_corpus
def test_a_token_that_is_named_is_told_by_the_token_patterns_too() -> None:
    [resource] = check(event(details=(("token", "7f3a"),)))
    assert claims(resource) == ["BasicAudit.PatientRead", "BasicAudit.OAUTHaccessTokenUse.Minimal"]


@needs_corpus
def test_a_token_that_was_issued_is_an_iti_71() -> None:
    [resource] = check(event("token.issue", details=(("scope", "system/Slot.rs"),)))
    assert claims(resource) == ["IUA.71"]


@needs_corpus
@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.SUCCESS, "0"), (Outcome.DENIED, "8"), (Outcome.FAILED, "4")]
)
def test_what_a_consent_decided_is_told_beside_the_access(outcome: Outcome, code: str) -> None:
    resources = check(
        event(
            consent="bb" * 32,
            outcome=outcome,
            reason="consent",
            details=(("consent", "Consent/9#0.1"),),
        )
    )
    assert [claims(r) for r in resources][1:] == [["BasicAudit.AuthZconsent"]]
    assert resources[1]["outcome"] == code
    [decided] = [e for e in resources[1]["entity"] if e["type"]["code"] == "Consent"]
    assert decided["what"] == {"reference": "Consent/9"}


@needs_corpus
@pytest.mark.parametrize(
    ("purpose", "accounted"),
    [("TREAT", False), ("HPAYMT", False), ("HOPERAT", False), ("BTG", False), ("PATRQT", False),
     ("HRESCH", True), ("PUBHLTH", True), ("HLEGAL", True), (None, True), ("NONSENSE", True)],
)  # fmt: skip
def test_what_an_accounting_must_hold_is_told_as_a_disclosure(
    purpose: str | None, accounted: bool
) -> None:
    kinds = [c for r in check(event(purpose=purpose)) for c in claims(r)]
    assert ("BasicAudit.PrivacyDisclosure.Source" in kinds) is accounted


@needs_corpus
@pytest.mark.parametrize("action", ["fhir.read", "fhir.search", "fhir.write", "proposal.review"])
def test_a_denial_claims_no_profile_and_says_why_as_a_code(action: str) -> None:
    [resource] = check(event(action, outcome=Outcome.DENIED, reason="search-guard"))
    assert claims(resource) == []
    assert (resource["outcome"], resource["outcomeDesc"]) == ("8", "search-guard")
    [reason] = [
        e["what"]["identifier"] for e in resource["entity"] if e["type"]["code"] == "reason"
    ]
    assert reason == {"system": OUR_REASON, "value": "search-guard"}
    assert {"system": OUR_ACTION, "code": action} in resource["subtype"]


@needs_corpus
def test_an_event_of_before_addresses_were_noted_says_that_none_is_known() -> None:
    [resource] = check(event(network=None, request=None))
    assert resource["agent"][0]["network"]["extension"][0]["valueCode"] == "unknown"


def test_the_same_event_gives_the_same_resources() -> None:
    """So that sending one twice can be told from two events."""
    made = event(patients=("Patient/1", "Patient/2"), patient=None, consent="bb" * 32)
    once = fhir_events(made, leaf=LEAF, place=PLACE)
    assert once == fhir_events(replace(made), leaf=LEAF, place=PLACE)
    assert len(once) == 4
    assert len({r["id"] for r in once}) == 4


def test_no_row_of_the_table_is_of_a_known_word_with_an_unknown_action() -> None:
    """A typo in the table would silently give an action the pattern of its first word."""
    words = {action.partition(".")[0] for action in ACTIONS}
    for row in PATTERNS:
        word, _, rest = row.partition(".")
        assert not rest or word not in words or row in ACTIONS, row
