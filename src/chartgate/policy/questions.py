"""A question in Cedar's form, and what Cedar makes of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cedarpy

from chartgate.model.charter import Charter
from chartgate.model.decision import Request
from chartgate.model.principal import Client, Person, Principal
from chartgate.policy.cedar import CHARTER_ACTIONS, EVERY_CHARTER, Rulebook
from chartgate.policy.forbids import READ_ACTIONS, WORK_ACTIONS


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Ids of the rules that hold for a question. `broken`: something could not be evaluated."""

    permits: tuple[str, ...] = ()
    forbids: tuple[str, ...] = ()
    broken: bool = False

    @property
    def permitted(self) -> bool:
        """Permitted, and not forbidden, and nothing went wrong."""
        return bool(self.permits) and not self.forbids and not self.broken


NOTHING = Verdict()


def evaluate(rulebook: Rulebook, request: Request) -> Verdict:
    """Which permits and forbids hold. What no charter knows is met by no rule at all."""
    charter = rulebook.charters.get(request.charter)
    type_, id_ = resource_of(request)
    permits = rulebook.permits.get((request.action, request.charter, id_))
    if permits is None or (charter is None and request.charter != EVERY_CHARTER):
        return NOTHING
    context = _context(rulebook, request, charter)
    question = {
        "principal": {"type": type(request.principal).__name__, "id": request.principal.id},
        "action": {"type": "Action", "id": request.action},
        "resource": {"type": type_, "id": id_},
        "context": json.dumps(context),
    }
    entities = json.dumps(_entities(request, charter))
    forbids = rulebook.forbids_on(
        request.action, request.site, preliminary=request.preliminary, known=context
    )
    permitting, permits_broken = _ask(question, permits, entities)
    forbidding, forbids_broken = _ask(question, forbids, entities) if forbids else ((), False)
    return Verdict(permits=permitting, forbids=forbidding, broken=permits_broken or forbids_broken)


def _ask(question: dict[str, Any], policies: Any, entities: str) -> tuple[tuple[str, ...], bool]:
    """Ids of the policies of one set that hold, and whether anything went wrong."""
    try:
        result = cedarpy.is_authorized(question, policies, entities)
    except ValueError:
        return (), True
    names = result.diagnostics.id_annotations_by_reason
    # The guard of a forbid has its annotations, and an id of its own in the set.
    ids = (r if r.endswith("?") else names.get(r, r) for r in result.diagnostics.reasons)
    return tuple(sorted(ids)), bool(result.diagnostics.errors)


def resource_of(request: Request) -> tuple[str, str]:
    """Type and id of what is asked for."""
    if request.action in READ_ACTIONS:
        return "ResourceType", request.resource_type or ""
    if request.action in CHARTER_ACTIONS:
        return "Charter", request.charter
    return "ProposalKind", f"{request.charter}/{request.proposes or ''}"


def _context(rulebook: Rulebook, request: Request, charter: Charter | None) -> dict[str, Any]:
    """What is known, as the schema's type for this action has it; the rest is left out."""
    context: dict[str, Any] = {
        "site": {"__entity": {"type": "Site", "id": request.site}},
        "charter": request.charter,
        "purpose": charter.purpose_of_use if charter else "",
        "workflow": request.workflow or request.proposes or request.action,
        "production": rulebook.production,
        "mfa_required": rulebook.mfa_required,
        "break_glass": request.break_glass,
    }
    is_read, is_work = request.action in READ_ACTIONS, request.action in WORK_ACTIONS
    if is_read:
        context["preliminary"] = request.preliminary
        context |= _known(confidentiality=request.confidentiality)
        context |= _known(sensitivities=_listed(request.sensitivities))
    if is_read or is_work:
        context |= _known(stage=request.stage, relationship=_listed(request.relationship))
    if is_work:
        context |= _known(author=dict(request.context).get("author"))
    return context


def _known(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _listed(values: frozenset[str] | None) -> Sequence[str] | None:
    return None if values is None else sorted(values)


def _entities(request: Request, charter: Charter | None) -> list[dict[str, Any]]:
    """The principal with its groups, and the kind of proposal with its charter."""
    type_, id_ = resource_of(request)
    entities = [_principal_entity(request.principal, charter)]
    if type_ == "ProposalKind":
        parents = [{"type": "Charter", "id": request.charter}]
        entities.append({"uid": {"type": type_, "id": id_}, "attrs": {}, "parents": parents})
    return entities


def _principal_entity(principal: Principal, charter: Charter | None) -> dict[str, Any]:
    attributes: dict[str, Any] = {"agent": principal.agent}
    parents: list[dict[str, str]] = []
    if isinstance(principal, Person):
        attributes["client_agent"] = f"client:{principal.id}"
        attributes["sites"] = [{"__entity": {"type": "Site", "id": s}} for s in principal.sites]
        attributes["mfa"] = principal.mfa
        parents = [{"type": "Role", "id": r} for r in principal.roles]
    elif isinstance(principal, Client) and charter and principal.id in charter.clients:
        parents = [{"type": "Charter", "id": charter.name}]
    uid = {"type": type(principal).__name__, "id": principal.id}
    return {"uid": uid, "attrs": attributes, "parents": parents}
