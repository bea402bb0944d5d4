"""All questions that charters' own combinations lead to: who they name, what they list, where.

So two revisions of the rules can be compared on more than what happened to be asked.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product

from chartgate.model.charter import ActionRule, Charter
from chartgate.model.decision import Request
from chartgate.model.principal import Client, Person, Principal, Process
from chartgate.policy.cedar import (
    ADMINISTER,
    ADMINISTRATORS,
    EVERY_CHARTER,
    OPERATOR,
    OPERATOR_ACTIONS,
    PERSON_ACTIONS,
)
from chartgate.policy.charters import CharterBook
from chartgate.policy.forbids import AT_RELEASE, READ_ACTIONS, WORK_ACTIONS

QUESTIONS_MAX = 200_000
CLIENT_WORK = ("submit", "withdraw", "show")
PERSON_WORK = tuple(sorted(WORK_ACTIONS & PERSON_ACTIONS))
SOMEBODY = "somebody"  # a person of no name: rules are about roles
WORST = ("R", "V")  # confidentiality beside the usual


def questions(*books: CharterBook) -> tuple[Request, ...]:
    """Each once, of all books together, at most QUESTIONS_MAX."""
    asks: set[str] = set().union(
        *(forbid.asks for book in books for forbid in book.rulebook.forbids.values())
    )
    found: dict[Request, None] = {}
    for book in books:
        for charter in book.charters.values():
            for request in _of_charter(charter):
                found.update(dict.fromkeys(_varied(request, charter, asks, books)))
                if len(found) >= QUESTIONS_MAX:
                    return tuple(islice(found, QUESTIONS_MAX))
    found.update(dict.fromkeys(_general()))
    return tuple(found)


def _of_charter(charter: Charter) -> Iterator[Request]:
    for client, site in product(charter.clients, charter.sites):
        who = Client(id=client, charter=charter.name)
        for type_, action in product(charter.reads, sorted(READ_ACTIONS)):
            yield _request(who, action, charter.name, site, resource_type=type_)
        for name, action in product(charter.proposes, CLIENT_WORK):
            yield _request(who, action, charter.name, site, proposes=name, author=who.agent)
        yield _request(who, "list", charter.name, site)
    for rule, site in product(charter.proposes.values(), charter.sites):
        yield from _of_people(charter, rule, site)
    for role in _roles(charter):
        for action in OPERATOR_ACTIONS:
            yield _request(_person(role, ""), action, charter.name, "")
    for action in OPERATOR_ACTIONS:
        yield _request(Process(id="worker"), action, charter.name, "")


def _of_people(charter: Charter, rule: ActionRule, site: str) -> Iterator[Request]:
    author = f"client:{charter.clients[0]}" if charter.clients else "client:nobody"
    for role, action in product(_roles(charter), PERSON_WORK):
        yield _request(
            _person(role, site), action, charter.name, site, proposes=rule.name, author=author
        )


def _general() -> Iterator[Request]:
    for role in ADMINISTRATORS:
        yield _request(_person(role, ""), ADMINISTER, EVERY_CHARTER, "")
    for action in OPERATOR_ACTIONS:
        yield _request(_person(OPERATOR, ""), action, EVERY_CHARTER, "")


def _varied(
    request: Request, charter: Charter, asks: set[str], books: tuple[CharterBook, ...]
) -> Iterator[Request]:
    """The question at each stage, relationship and label that some rule looks at."""
    stages: list[str | None] = [None]
    if "stage" in asks and charter.rollout:
        stages = [stage.name for stage in charter.rollout]
    kinds = sorted({k for rule in charter.reads.values() for k in rule.relationship})
    kinds += sorted({k for r in charter.proposes.values() for k in r.review_relationship})
    for stage in stages:
        asked = replace(request, stage=stage)
        if request.action not in READ_ACTIONS:
            yield from (
                replace(asked, relationship=frozenset(some)) for some in [(), *_ones(kinds)]
            )
            continue
        yield replace(asked, preliminary=True)
        known = replace(
            asked, relationship=frozenset(), sensitivities=frozenset(), confidentiality="N"
        )
        yield known
        yield from (replace(known, relationship=frozenset(some)) for some in _ones(kinds))
        if not AT_RELEASE.isdisjoint(asks):
            codes = sorted({code for book in books for code in book.labels.confidentiality})
            yield from (replace(known, sensitivities=frozenset(some)) for some in _ones(codes))
            yield from (replace(known, confidentiality=level) for level in WORST)


def _ones(names: list[str]) -> list[tuple[str, ...]]:
    return [(name,) for name in names]


def _roles(charter: Charter) -> list[str]:
    rules = charter.proposes.values()
    return sorted(
        {OPERATOR, *ADMINISTRATORS, *(r for a in rules for r in (*a.reviewers, *a.worklists))}
    )


def _person(role: str, site: str) -> Person:
    return Person(id=SOMEBODY, roles=(role,), sites=(site,) if site else (), mfa=True)


def _request(
    who: Principal,
    action: str,
    charter: str,
    site: str,
    *,
    resource_type: str | None = None,
    proposes: str | None = None,
    author: str = "",
) -> Request:
    return Request(
        principal=who,
        action=action,
        charter=charter,
        site=site,
        resource_type=resource_type,
        proposes=proposes,
        context=(("author", author),) if author else (),
    )
