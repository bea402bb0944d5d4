"""May they? One pure function from a question to an answer with its rule and a sentence.

What a Request must carry:
  read, search      Client; resource_type; site
  submit            Client; proposes; site
  withdraw, show    Client; proposes; site; context author (clients see and withdraw only theirs)
  review, edit, hand-back, rollback, take, close, show
                    Person; proposes; site; context author
  list, halt, resume, promote
                    charter only; a halt of everything asks for charter "*"
Nothing matched, something unknown, or an error while evaluating: all mean no.
"""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import cedarpy

from chartgate.formats.canonical import canonical_bytes
from chartgate.model.charter import Charter
from chartgate.model.decision import Decision, Request
from chartgate.model.principal import Client, Person, Principal
from chartgate.policy.cedar import (
    CHARTER_ACTIONS,
    CLIENT_ACTIONS,
    EVERY_CHARTER,
    OPERATOR,
    PERSON_ACTIONS,
    PROCESS_ACTIONS,
    READ_ACTIONS,
    WORKLIST_ACTIONS,
    Rulebook,
)
from chartgate.policy.charters import CharterBook

ANSWERS_MAX = 20_000  # some 20 MB; a hospital's day asks a few hundred different questions

DOING = {
    "read": "reading",
    "search": "searching",
    "submit": "proposing",
    "withdraw": "withdrawing",
    "show": "seeing",
    "list": "listing proposals",
    "review": "reviewing",
    "edit": "editing",
    "hand-back": "handing back",
    "rollback": "rolling back",
    "take": "taking over",
    "close": "closing",
    "halt": "halting it",
    "resume": "resuming it",
    "promote": "changing its stage",
}


def decide(book: CharterBook, request: Request) -> Decision:
    """The answer of the running charters. Same question and book, same answer and id."""
    answers = book.rulebook.answers
    decision = answers.get(request)
    if decision is None:
        decision = _decide(book.rulebook, request)
        if len(answers) >= ANSWERS_MAX:
            del answers[next(iter(answers))]
        answers[request] = decision
    return decision


def _decide(rulebook: Rulebook, request: Request) -> Decision:
    charter = rulebook.charters.get(request.charter)
    refusal = _refusal_by_kind(request)
    if refusal is None:
        permitted, rule, errors = _ask_cedar(rulebook, request, charter)
        if permitted:
            return _decision(rulebook, request, rule=rule, sentence=_yes(request), permitted=True)
        if rule is not None:
            return _decision(rulebook, request, rule=rule, sentence=rulebook.sentences[rule])
        refusal = "the policy could not be evaluated, which means no" if errors else None
    return _decision(rulebook, request, sentence=refusal or _no(request, charter))


def _decision(
    rulebook: Rulebook,
    request: Request,
    *,
    sentence: str,
    rule: str | None = None,
    permitted: bool = False,
) -> Decision:
    question = {**asdict(request), "principal": request.principal.agent}
    question["holder"] = asdict(request.principal)
    id_ = hashlib.sha256(canonical_bytes([rulebook.digest, question])).hexdigest()
    return Decision(id=id_, permitted=permitted, rule=rule, sentence=sentence)


def _refusal_by_kind(request: Request) -> str | None:
    """What the kind of credential can never do, whatever any policy says."""
    principal = request.principal
    if request.action not in DOING:
        return f"there is no action {request.action}"
    if isinstance(principal, Client):
        if request.action not in CLIENT_ACTIONS:
            return f"{DOING[request.action]} is for people: an AI client never decides"
        if principal.charter != request.charter:
            return f"this credential acts under charter {principal.charter} only"
        return None
    actions = PERSON_ACTIONS if isinstance(principal, Person) else PROCESS_ACTIONS
    if request.action not in actions:
        return f"{DOING[request.action]} is not for {principal.agent.partition(':')[0]} accounts"
    return None


def _ask_cedar(
    rulebook: Rulebook, request: Request, charter: Charter | None
) -> tuple[bool, str | None, bool]:
    """(permitted, id of the rule that decided, whether anything went wrong)."""
    type_, id_ = _resource(request)
    policies = rulebook.slices.get((request.action, id_))
    if policies is None or (charter is None and request.charter != EVERY_CHARTER):
        return False, None, False
    question = {
        "principal": {"type": type(request.principal).__name__, "id": request.principal.id},
        "action": {"type": "Action", "id": request.action},
        "resource": {"type": type_, "id": id_},
        "context": _context(request, charter),
    }
    entities = json.dumps(_entities(request, charter))
    try:
        result = cedarpy.is_authorized(question, policies, entities)
    except ValueError:
        return False, None, True
    names = result.diagnostics.id_annotations_by_reason
    rules = sorted(names.get(r, r) for r in result.diagnostics.reasons)
    if result.diagnostics.errors:
        return False, None, True
    return result.allowed, rules[0] if rules else None, False


def _resource(request: Request) -> tuple[str, str]:
    if request.action in READ_ACTIONS:
        return "ResourceType", request.resource_type or ""
    if request.action in CHARTER_ACTIONS:
        return "Charter", request.charter
    return "ProposalKind", f"{request.charter}/{request.proposes or ''}"


def _context(request: Request, charter: Charter | None) -> dict[str, Any]:
    context: dict[str, Any] = dict(request.context)
    context["site"] = {"__entity": {"type": "Site", "id": request.site}}
    context["charter"] = request.charter
    context["purpose"] = charter.purpose_of_use if charter else ""
    if request.stage is not None:
        context["stage"] = request.stage
    return context


def _entities(request: Request, charter: Charter | None) -> list[dict[str, Any]]:
    """The principal with its groups, and the kind of proposal with its charter."""
    type_, id_ = _resource(request)
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
        parents = [{"type": "Role", "id": r} for r in principal.roles]
    elif isinstance(principal, Client) and charter and principal.id in charter.clients:
        parents = [{"type": "Charter", "id": charter.name}]
    uid = {"type": type(principal).__name__, "id": principal.id}
    return {"uid": uid, "attrs": attributes, "parents": parents}


def _yes(request: Request) -> str:
    if request.charter == EVERY_CHARTER:
        return f"{request.principal.agent} may do this for every charter: {request.action}"
    return f"charter {request.charter} permits {_what(request)}"


def _what(request: Request) -> str:
    doing = DOING[request.action]
    if request.action in CHARTER_ACTIONS:
        return doing
    thing = request.resource_type if request.action in READ_ACTIONS else request.proposes
    return f"{doing} {thing} at {request.site}"


def _no(request: Request, charter: Charter | None) -> str:
    """Why nothing permitted it: the first reason that a person could act on."""
    if charter is None and request.charter == EVERY_CHARTER:
        return f"only an {OPERATOR} may do this for every charter: {request.action}"
    if charter is None:
        return f"there is no charter {request.charter}"
    name = f"charter {charter.name}"
    principal = request.principal
    if request.action not in CHARTER_ACTIONS and request.site not in charter.sites:
        return f"{name} does not cover the site {request.site}"
    if isinstance(principal, Client) and principal.id not in charter.clients:
        return f"{name} does not name the client {principal.id}"
    if request.action in READ_ACTIONS:
        if request.resource_type not in charter.reads:
            return f"{name} does not list {request.resource_type}: nothing permits reading it"
        return f"{name} lists no search parameter for {request.resource_type}"
    if request.action in CHARTER_ACTIONS:
        return f"{name} does not let {principal.agent} do this: {request.action}"
    return _no_proposal(request, charter)


def _no_proposal(request: Request, charter: Charter) -> str:
    rule = charter.proposes.get(request.proposes or "")
    if rule is None:
        return f"charter {charter.name} has no proposal named {request.proposes}"
    if isinstance(request.principal, Client):
        return "an AI client sees and withdraws only its own proposals"
    roles = f"a {rule.review_by}"
    if request.action in WORKLIST_ACTIONS and rule.handoff_to != rule.review_by:
        roles += f" or {rule.handoff_to}"
    return f"{_what(request)} is for {roles} of that site, says charter {charter.name}"
