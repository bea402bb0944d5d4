"""The Provenance of one write of ours: what was written, by which AI client, and who let it.

It follows from the proposal and its approvals alone, so that it can be made again byte for byte. It has no signature:
who needs proof asks the ledger.
Source: https://hl7.org/fhir/R4/provenance.html
"""

from collections.abc import Sequence
from typing import Any

from chartgate.model.charter import Charter
from chartgate.model.principal import CLIENT_PREFIX
from chartgate.model.proposal import Proposal
from chartgate.model.resource import Resource
from chartgate.model.write import Effect

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
PERSON_PREFIX = "person:"


def write_provenance(
    proposal: Proposal, charter: Charter | None, *, approvers: Sequence[str] = ()
) -> Resource:
    """Of a proposal that has a receipt. `charter` is the running one, for the model's name;
    `approvers` are all who approved, where there were several."""
    assert proposal.receipt is not None, "only what was written has a provenance"
    effects = proposal.receipt.effects
    replaced = [e for e in effects if e.version_before is not None]
    made = "CREATE" if len(replaced) < len(effects) else "UPDATE"
    found: Resource = {
        "resourceType": "Provenance",
        "target": [{"reference": _version(e, e.version_after)} for e in effects],
        "recorded": proposal.receipt.at.isoformat(timespec="milliseconds"),
        "policy": [f"urn:chartgate:charter:{proposal.charter}:{proposal.charter_digest}"],
        "activity": {"coding": [{"system": f"{TERMINOLOGY}/v3-DataOperation", "code": made}]},
        "agent": _agents(proposal, charter, approvers),
    }
    if replaced:
        found["entity"] = [
            {"role": "revision", "what": {"reference": _version(e, e.version_before)}}
            for e in replaced
        ]
    return found


def _agents(
    proposal: Proposal, charter: Charter | None, approvers: Sequence[str]
) -> list[dict[str, Any]]:
    """The AI client put it together; who edited it is an author, who approved it verified it."""
    model = f"{charter.model_name} {charter.model_version}".strip() if charter else ""
    client = _named("Device", "client", proposal.author.removeprefix(CLIENT_PREFIX), model)
    agents = [_agent("assembler", client)]
    if editor := _person(proposal.content.edited_by):
        agents.append(_agent("author", editor))
    by = approvers if proposal.decided_by in approvers else (proposal.decided_by,)
    for agent in dict.fromkeys(by):
        if approver := _person(agent):
            agents.append(_agent("verifier", approver))
    return agents


def _person(agent: str | None) -> dict[str, Any] | None:
    """None where no person did it, but a rule."""
    if agent is None or not agent.startswith(PERSON_PREFIX):
        return None
    return _named("Practitioner", "person", agent.removeprefix(PERSON_PREFIX))


def _named(kind: str, system: str, name: str, display: str = "") -> dict[str, Any]:
    """A logical reference: the system of record need not hold them."""
    identifier = {"system": f"urn:chartgate:{system}", "value": name}
    said = {"type": kind, "identifier": identifier}
    return said | {"display": display} if display else said


def _agent(code: str, who: dict[str, Any]) -> dict[str, Any]:
    coding = {"system": f"{TERMINOLOGY}/provenance-participant-type", "code": code}
    return {"type": {"coding": [coding]}, "who": who}


def _version(effect: Effect, version: str | None) -> str:
    return f"{effect.reference}/_history/{version}" if version else effect.reference
