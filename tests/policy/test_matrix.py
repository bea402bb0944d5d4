"""All questions that charters lead to: against the same said in plain loops."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chartgate.model.charter import Charter
from chartgate.model.decision import Request
from chartgate.model.label import CONFIDENTIALITY
from chartgate.model.principal import Client, Person, Process
from chartgate.policy import matrix
from chartgate.policy.charters import CharterBook, compile_book
from chartgate.policy.matrix import questions
from tests.policy.test_decide import CHARTERS, PSYCHIATRY

BOOKING = next(c for c in CHARTERS if c.name == "clinic-booking")
READS = {name: BOOKING.reads[name] for name in ("Slot", "Patient")}
SMALL = replace(BOOKING, reads=READS, clients=("one", "two"), sites={"north": "e", "south": "e"})
ROLES = ("administrator", "front-desk", "operator", "privacy-officer", "scheduler")
DECIDED = ("close", "edit", "hand-back", "review", "rollback", "show", "take")
OPERATED = ("halt", "resume", "promote", "list")
ON_STAGE = """@id("s") @sentence("s") forbid (principal, action, resource)
when { context has stage && context.stage == "shadow" };"""


def somebody(role: str, site: str = "") -> Person:
    return Person(id="somebody", roles=(role,), sites=(site,) if site else (), mfa=True)


def bare(charter: Charter) -> Iterator[Request]:
    """What a charter names, before anything is varied."""
    about: dict[str, Any] = {"charter": charter.name}
    for site in charter.sites:
        for id_ in charter.clients:
            yield from of_client(Client(id=id_, charter=charter.name), charter, site)
        first = (("author", f"client:{[*charter.clients, 'nobody'][0]}"),)
        book: dict[str, Any] = {"site": site, "proposes": "book", "context": first, **about}
        for action in DECIDED:
            for role in ROLES:
                yield Request(principal=somebody(role, site), action=action, **book)
    for action in OPERATED:
        for role in ROLES:
            yield Request(principal=somebody(role), action=action, site="", **about)
        yield Request(principal=Process(id="worker"), action=action, site="", **about)


def of_client(client: Client, charter: Charter, site: str) -> Iterator[Request]:
    about: dict[str, Any] = {"principal": client, "charter": charter.name, "site": site}
    for action in ("read", "search"):
        for type_ in charter.reads:
            yield Request(action=action, resource_type=type_, **about)
    own = (("author", client.agent),)
    for action in ("submit", "withdraw", "show"):
        yield Request(action=action, proposes="book", context=own, **about)
    yield Request(action="list", **about)


def general() -> set[Request]:
    everything: dict[str, Any] = {"charter": "*", "site": ""}
    roles = ("administrator", "privacy-officer")
    return {
        *(Request(principal=somebody(r), action="administer", **everything) for r in roles),
        *(Request(principal=somebody("operator"), action=a, **everything) for a in OPERATED),
    }


def varied(
    request: Request, relationships: tuple[str, ...], more: list[dict[str, Any]]
) -> set[Request]:
    none: frozenset[str] = frozenset()
    ones = [frozenset({kind}) for kind in relationships]
    if request.action not in ("read", "search"):
        return {replace(request, relationship=kind) for kind in (none, *ones)}
    known = replace(request, relationship=none, sensitivities=none, confidentiality="N")
    return {
        replace(request, preliminary=True),
        known,
        *(replace(known, relationship=kind) for kind in ones),
        *(replace(known, **change) for change in more),
    }


def asked_of(book: CharterBook, *others: CharterBook) -> set[Request]:
    found = questions(book, *others)
    assert len(set(found)) == len(found)
    return set(found)


@pytest.mark.parametrize("charter", [SMALL, replace(SMALL, clients=()), replace(SMALL, sites={})])
def test_questions_are_all_that_the_charter_names(charter: Charter) -> None:
    expected = {v for request in bare(charter) for v in varied(request, (), [])}
    assert asked_of(compile_book([charter])) == expected | general()


def test_questions_of_two_books_are_those_of_both_together() -> None:
    other = replace(SMALL, name="other", clients=("three",))
    one, two = compile_book([SMALL]), compile_book([other])
    assert (
        asked_of(one, two)
        == asked_of(one) | asked_of(two)
        == asked_of(compile_book([SMALL, other]))
    )


def test_relationships_are_asked_of_where_some_rule_looks_at_them() -> None:
    reads = {
        "Slot": READS["Slot"],
        "Patient": replace(READS["Patient"], relationship=("care-team",)),
    }
    book = replace(BOOKING.proposes["book"], review_relationship=("encounter",))
    charter = replace(SMALL, reads=reads, proposes={"book": book})
    kinds = ("care-team", "encounter")
    expected = {v for request in bare(charter) for v in varied(request, kinds, [])}
    assert asked_of(compile_book([charter])) == expected | general()


def test_labels_are_asked_of_where_some_rule_of_any_book_looks_at_them() -> None:
    plain, labelled = compile_book([SMALL]), compile_book([SMALL], forbids=[PSYCHIATRY])
    codes = labelled.labels.confidentiality
    assert set(codes) >= {"PSY", "HIV", "ETHUD"}
    more: list[dict[str, Any]] = [{"sensitivities": frozenset({code})} for code in codes]
    more += [{"confidentiality": level} for level in CONFIDENTIALITY if level in "RV"]
    expected = {v for request in bare(SMALL) for v in varied(request, (), more)}
    assert asked_of(labelled) == asked_of(plain, labelled) == expected | general()


def test_stages_are_asked_of_where_some_rule_looks_at_them() -> None:
    stages = [stage.name for stage in SMALL.rollout]
    assert len(stages) == 5
    expected = {
        replace(v, stage=stage)
        for request in bare(SMALL)
        for v in varied(request, (), [])
        for stage in stages
    }
    assert asked_of(compile_book([SMALL], forbids=[ON_STAGE])) == expected | general()
    alone = replace(SMALL, rollout=())
    expected = {v for request in bare(alone) for v in varied(request, (), [])}
    assert asked_of(compile_book([alone], forbids=[ON_STAGE])) == expected | general()


def test_questions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    book = compile_book([SMALL])
    everything = questions(book)
    for most in (1, 2, 50, len(everything) - len(general())):
        monkeypatch.setattr(matrix, "QUESTIONS_MAX", most)
        assert questions(book) == everything[:most]
