"""The checker of BALP's profiles finds what is wrong: on BALP's own examples, and on faults."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.transform.balp_profiles import BALP, findings, profiles

EXAMPLES = sorted(BALP.glob("AuditEvent-ex*.json"))
NOT_SPOKEN = ("SAML", "Comprehensive")  # extensions of theirs, which the checker leaves out

pytestmark = pytest.mark.skipif(not EXAMPLES, reason="needs the corpus audit/ihe-balp")


def example(name: str) -> tuple[Any, str]:
    resource = json.loads((BALP / f"AuditEvent-ex-{name}.json").read_bytes())
    return resource, resource["meta"]["profile"][0]


def test_the_corpus_is_whole() -> None:
    assert len(EXAMPLES) == 46


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_holds_under_the_profiles_that_it_claims(path: Path) -> None:
    resource = json.loads(path.read_bytes())
    assert resource["meta"]["profile"]
    for url in resource["meta"]["profile"]:
        assert findings(resource, url) == [], url


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_of_no_other_kind(path: Path) -> None:
    """A profile that anything passes would check nothing."""
    resource = json.loads(path.read_bytes())
    refusing = [url for url in profiles() if findings(resource, url)]
    assert len(refusing) >= 10


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_agent_or_entity_that_a_profile_needs_is_missed(path: Path) -> None:
    """Take each agent and entity away in turn; what a profile asks for by name must be missed."""
    resource = json.loads(path.read_bytes())
    [url] = resource["meta"]["profile"]
    missed = 0
    for part in ("agent", "entity"):
        for number in range(len(resource.get(part, ()))):
            fewer = deepcopy(resource)
            del fewer[part][number]
            missed += bool(findings(fewer, url))
    assert missed >= 1, "nothing in it is needed"


def _without(path: str) -> Any:
    def change(resource: Any) -> None:
        holder = resource
        *steps, last = path.split(".")
        for step in steps:
            holder = holder[int(step)] if step.isdigit() else holder[step]
        holder.pop(last)

    return change


def _with(path: str, value: Any) -> Any:
    def change(resource: Any) -> None:
        holder = resource
        *steps, last = path.split(".")
        for step in steps:
            holder = holder[int(step)] if step.isdigit() else holder[step]
        holder[int(last) if last.isdigit() else last] = value

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("auditBasicReadServer", _with("outcome", "8")),
        ("auditBasicReadServer", _without("outcome")),
        ("auditBasicReadServer", _with("action", "U")),
        ("auditBasicReadServer", _with("type.code", "110106")),
        ("auditBasicReadServer", _with("subtype.0.code", "search")),
        ("auditBasicReadServer", _with("subtype.0.system", "urn:other")),
        ("auditBasicReadServer", _without("subtype")),
        ("auditBasicReadServer", _without("agent.0.network")),
        ("auditBasicReadServer", _without("agent.1.who")),
        ("auditBasicReadServer", _with("agent.0.media", {"code": "x"})),
        ("auditBasicReadServer", lambda r: r["agent"].append(deepcopy(r["agent"][0]))),
        ("auditBasicReadServer", lambda r: r["entity"].append(deepcopy(r["entity"][0]))),
        ("auditBasicQueryGetServer", lambda r: [e.pop("query", None) for e in r["entity"]]),
        ("auditBasicQueryGetServer", _with("entity.0.detail", [{"type": "x"}])),
        ("auditBasicQueryGetServer", _with("entity.0.what", {"reference": "Slot/1"})),
        ("auditBasicQueryGetServer", _with("entity.1.what.reference", "Group/ex")),
        ("auditBasicQueryGetServer", _with("agent.2.requestor", False)),
        ("auditAuthZconsent-deny", lambda r: r["entity"].append({"type": {"code": "more"}})),
        ("auditAuthZconsent-deny", lambda r: r["agent"].pop()),
        ("auditAuthZconsent-deny", _with("source.observer.reference", "Device/other")),
        ("auditAuthZconsent-deny", _with("subtype.0.system", "urn:other")),
        ("auditPrivacyDisclosure-source", _with("source.observer", {"display": "another"})),
        ("auditPrivacyDisclosure-source", _without("agent.1.network")),
        ("auditBasicReadOServerMin", _without("agent.0.policy")),
        ("auditBasicReadOServerMin", _with("agent.0.policy", ["a", "b"])),
        ("auditBasicReadOServerMin", _with("agent.0.requestor", False)),
    ],
)  # fmt: skip
def test_each_seeded_fault_is_found(name: str, change: Any) -> None:
    resource, url = example(name)
    assert findings(resource, url) == []
    was = json.dumps(resource)
    change(resource)
    assert json.dumps(resource) != was
    assert findings(resource, url) != []
