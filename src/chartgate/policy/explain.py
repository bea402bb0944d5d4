"""Why a question was answered as it was, and which single change would turn the answer round.

Nothing is reasoned about: each change is tried, on the question or on the rules, and asked again.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from chartgate.model.charter import RELATIONSHIPS, STAGES, Charter, ReadRule
from chartgate.model.decision import Decision, Request
from chartgate.model.principal import Client, Person
from chartgate.policy.cedar import Rulebook, compile_rulebook
from chartgate.policy.charters import CharterBook
from chartgate.policy.decide import decide_anew
from chartgate.policy.forbids import READ_ACTIONS, ForbidFile
from chartgate.policy.questions import evaluate

ANY_ELEMENT = ("id",)
ANOTHER = "client:another"
OWN = "chartgate/"  # rules of ours, which nobody can take away


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The answer, and what would turn it round."""

    decision: Decision
    rules: tuple[str, ...]  # all that hold: forbids where there are some, else permits
    turned_by: tuple[str, ...]  # each a change that alone would do

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        answer = "permitted" if self.decision.permitted else "refused"
        rule = f" (rule {', '.join(self.rules)})" if self.rules else ""
        other = "refused" if self.decision.permitted else "permitted"
        how = (
            f"it would be {other} {', or '.join(self.turned_by)}"
            if self.turned_by
            else f"no single change of it would make it {other}"
        )
        return f"{answer}{rule}: {self.decision.sentence}; {how}"


def explain(book: CharterBook, request: Request) -> Explanation:
    """The decision with what would change it."""
    decision = decide_anew(book.rulebook, request)
    verdict = evaluate(book.rulebook, request)
    rules = verdict.forbids if decision.rule in verdict.forbids else (decision.rule,)
    tried = (*_other_questions(book, request), *_other_rules(book, request, verdict.forbids))
    return Explanation(
        decision=decision,
        rules=tuple(rule for rule in rules if rule),
        turned_by=tuple(
            dict.fromkeys(
                words
                for words, rulebook, asked in tried
                if decide_anew(rulebook, asked).permitted != decision.permitted
            )
        ),
    )


Try = tuple[str, Rulebook, Request]


def _other_questions(book: CharterBook, request: Request) -> Iterator[Try]:
    """The question with one thing about it changed."""
    charter = book.charters.get(request.charter)
    for words, asked in (
        *_other_place(book, request),
        *_other_holder(book, request, charter),
        *_other_facts(request),
    ):
        yield words, book.rulebook, asked


def _other_place(book: CharterBook, request: Request) -> Iterator[tuple[str, Request]]:
    for site in sorted({s for c in book.charters.values() for s in c.sites} - {request.site}):
        yield f"at the site {site}", replace(request, site=site)
    for name, charter in sorted(book.charters.items()):
        who = request.principal
        if name == request.charter or (isinstance(who, Client) and who.id not in charter.clients):
            continue
        holder = replace(who, charter=name) if isinstance(who, Client) else who
        yield f"under the charter {name}", replace(request, charter=name, principal=holder)


def _other_holder(
    book: CharterBook, request: Request, charter: Charter | None
) -> Iterator[tuple[str, Request]]:
    who = request.principal
    if isinstance(who, Client):
        for client in charter.clients if charter else ():
            if client != who.id:
                yield (
                    f"for the client {client}",
                    replace(request, principal=replace(who, id=client)),
                )
    elif isinstance(who, Person):
        for role in sorted(_roles(book.charters.values()) - set(who.roles)):
            more = replace(who, roles=(*who.roles, role))
            yield f"with the role {role}", replace(request, principal=more)
        if request.site and request.site not in who.sites:
            here = replace(who, sites=(*who.sites, request.site))
            yield f"for a person of {request.site}", replace(request, principal=here)
        if not who.mfa:
            yield "with a second factor", replace(request, principal=replace(who, mfa=True))


def _roles(charters: Iterable[Charter]) -> set[str]:
    rules = [rule for charter in charters for rule in charter.proposes.values()]
    reviewers = {role for rule in rules for role in (*rule.reviewers, *rule.worklists)}
    return {"operator", "administrator", "privacy-officer"} | reviewers


def _other_facts(request: Request) -> Iterator[tuple[str, Request]]:
    for stage in STAGES:
        if stage != request.stage:
            yield f"at the stage {stage}", replace(request, stage=stage)
    for kind in RELATIONSHIPS:
        if kind not in (request.relationship or ()):
            known = frozenset({*(request.relationship or ()), kind})
            yield f"with the relationship {kind}", replace(request, relationship=known)
    if request.action in READ_ACTIONS and not request.preliminary:
        unlabelled = replace(request, sensitivities=frozenset(), confidentiality="N")
        yield "if the resource had no restricting label", unlabelled
    if request.action not in READ_ACTIONS and not request.context:
        by_another = replace(request, context=(("author", ANOTHER),))
        yield "if it was known that another is its author", by_another
    if request.break_glass:
        yield "without break-glass", replace(request, break_glass=False)


def _other_rules(book: CharterBook, request: Request, holding: Iterable[str]) -> Iterator[Try]:
    """The same question under rules with one thing changed."""
    for rule in sorted({rule.removesuffix("?") for rule in holding}):
        if not rule.startswith(OWN):
            yield f"without the policy {rule}", _without(book, rule), request
    charter = book.charters.get(request.charter)
    if charter is not None:
        for words, changed in _other_charters(charter, request):
            charters = {**book.charters, charter.name: changed}
            yield f"if the charter {words}", _compiled(book, charters), request


def _other_charters(charter: Charter, request: Request) -> Iterator[tuple[str, Charter]]:
    who, type_ = request.principal, request.resource_type
    if request.site and request.site not in charter.sites:
        yield (
            f"covered {request.site}",
            replace(charter, sites={**charter.sites, request.site: "?"}),
        )
    if isinstance(who, Client) and who.id not in charter.clients:
        yield f"named {who.id}", replace(charter, clients=(*charter.clients, who.id))
    if request.action in READ_ACTIONS and type_:
        rule = charter.reads.get(type_)
        if rule is None:
            search = ("_id",) if request.action == "search" else ()
            rule = ReadRule(elements=ANY_ELEMENT, search=search)
            yield f"listed {type_}", replace(charter, reads={**charter.reads, type_: rule})
        elif not rule.search:
            more = replace(rule, search=("_id",))
            words = f"listed a search parameter of {type_}"
            yield words, replace(charter, reads={**charter.reads, type_: more})
        if rule.relationship:
            free = replace(rule, relationship=())
            words = f"asked for no relationship in reading {type_}"
            yield words, replace(charter, reads={**charter.reads, type_: free})


def _without(book: CharterBook, rule: str) -> Rulebook:
    return _compiled(book, book.charters, without=rule)


def _compiled(book: CharterBook, charters: Mapping[str, Charter], *, without: str = "") -> Rulebook:
    """The rules with other charters, or without one policy."""
    forbids = [
        ForbidFile(text=forbid.text, site=forbid.site)
        for forbid in book.rulebook.forbids.values()
        if not forbid.id.startswith(OWN) and forbid.id != without
    ]
    return compile_rulebook(
        charters,
        forbids=forbids,
        digest="tried",
        production=book.rulebook.production,
        mfa_required=book.rulebook.mfa_required,
    )
