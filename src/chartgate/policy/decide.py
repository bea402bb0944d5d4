"""May they? One pure function from a question to an answer with its rule and a sentence.

What a Request must carry:
  read, search      Client; resource_type; site
  submit            Client; proposes; site
  withdraw, show    Client; proposes; site; context author (clients see and withdraw only theirs)
  review, edit, hand-back, rollback, take, close, show
                    Person; proposes; site; context author
  list, halt, resume, promote
                    charter only; a halt of everything asks for charter "*"
  administer        Person; charter "*"
A read is asked about twice: first with `preliminary`, and at release with what only the resource
can tell (model/decision.py, at_release). Both must be permitted.
Nothing matched, something unknown, or an error while evaluating: all mean no.
"""

import hashlib
from collections.abc import Sequence

from chartgate.formats.canonical import canonical_bytes
from chartgate.model.charter import Charter
from chartgate.model.decision import Decision, Request
from chartgate.model.principal import Client, Person, Process
from chartgate.policy.asked import question_of
from chartgate.policy.cedar import (
    ADMINISTRATORS,
    CHARTER_ACTIONS,
    CLIENT_ACTIONS,
    EVERY_CHARTER,
    OPERATOR,
    PERSON_ACTIONS,
    PROCESS_ACTIONS,
    WORKLIST_ACTIONS,
    Answered,
    Rulebook,
)
from chartgate.policy.charters import CharterBook
from chartgate.policy.forbids import READ_ACTIONS
from chartgate.policy.questions import evaluate

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
    "administer": "approving a change that weakens a rule",
}
SAY_BROKEN = "the policy could not be evaluated, which means no"


def decide(book: CharterBook, request: Request) -> Decision:
    """The answer of the running charters. Same question and book, same answer and id."""
    answers = book.rulebook.answers
    answered = answers.get(request)
    if answered is None:
        answered = Answered(decide_anew(book.rulebook, request))
        if len(answers) >= ANSWERS_MAX:
            del answers[next(iter(answers))]
        answers[request] = answered
    answered.count += 1
    return answered.decision


def decide_anew(rulebook: Rulebook, request: Request) -> Decision:
    """As `decide`, without looking into, or adding to, what was answered before."""
    charter = rulebook.charters.get(request.charter)
    refusal = _refusal_by_kind(request)
    if refusal is None:
        verdict = evaluate(rulebook, request)
        if verdict.permitted:
            return _decision(
                rulebook,
                request,
                rule=verdict.permits[0],
                sentence=_yes(request),
                permitted=True,
            )
        if verdict.forbids and not verdict.broken:
            rule = verdict.forbids[0]
            return _decision(rulebook, request, rule=rule, sentence=rulebook.sentences[rule])
        refusal = SAY_BROKEN if verdict.broken else None
    return _decision(rulebook, request, sentence=refusal or _no(request, charter))


def _decision(
    rulebook: Rulebook,
    request: Request,
    *,
    sentence: str,
    rule: str | None = None,
    permitted: bool = False,
) -> Decision:
    asked = canonical_bytes([rulebook.digest, question_of(request)])
    id_ = hashlib.sha256(asked).hexdigest()
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
        elsewhere = principal.sites is not None and request.site not in principal.sites
        if elsewhere and request.action not in CHARTER_ACTIONS:  # which are of no site
            return f"this credential does not hold at the site {request.site}"
        return None
    actions: frozenset[str] = frozenset()
    if isinstance(principal, Person):
        if principal.sealed:
            return "a sealed account is for break-glass and for nothing else"
        actions = PERSON_ACTIONS
    elif isinstance(principal, Process):
        actions = PROCESS_ACTIONS
    if request.action not in actions:
        return f"{DOING[request.action]} is not for {principal.agent.partition(':')[0]} accounts"
    return None


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
    if request.action == "administer":
        return f"{DOING['administer']} is for people with the role {' or '.join(ADMINISTRATORS)}"
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
        return _no_read(request, charter)
    if request.action in CHARTER_ACTIONS:
        return f"{name} does not let {principal.agent} do this: {request.action}"
    return _no_proposal(request, charter)


def _no_read(request: Request, charter: Charter) -> str:
    name, wanted = f"charter {charter.name}", request.resource_type
    rule = charter.reads.get(wanted or "")
    if rule is None:
        return f"{name} does not list {wanted}: nothing permits reading it"
    if request.action == "search" and not rule.search:
        return f"{name} lists no search parameter for {wanted}"
    return _unrelated(name, f"reading {wanted}", rule.relationship)


def _unrelated(name: str, what: str, kinds: Sequence[str]) -> str:
    return f"{name} asks for {what} that the patient is known by {' or '.join(kinds)}"


def _no_proposal(request: Request, charter: Charter) -> str:
    rule = charter.proposes.get(request.proposes or "")
    if rule is None:
        return f"charter {charter.name} has no proposal named {request.proposes}"
    if isinstance(request.principal, Client):
        return "an AI client sees and withdraws only its own proposals"
    principal = request.principal
    if (
        isinstance(principal, Person)
        and rule.review_relationship
        and not {*rule.reviewers}.isdisjoint(principal.roles)
        and request.site in principal.sites
    ):
        return _unrelated(f"charter {charter.name}", _what(request), rule.review_relationship)
    roles = f"a {' or '.join(rule.reviewers)}"
    if request.action in WORKLIST_ACTIONS:
        further = [worklist for worklist in rule.worklists if worklist not in rule.reviewers]
        roles = " or ".join((roles, *further))
    return f"{_what(request)} is for {roles} of that site, says charter {charter.name}"
