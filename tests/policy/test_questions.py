"""A question in Cedar's form: what it is put to, and what is known of it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.policy_differential import compare
from chartgate.model.decision import Request
from chartgate.model.principal import Client, Person, Process
from chartgate.policy import questions
from chartgate.policy.charters import compile_book
from chartgate.policy.questions import NOTHING, Verdict, evaluate, resource_of
from tests.policy.test_decide import AUTHOR, BOOK, CHARTERS, PICKER, PSYCHIATRY, SOFIA

READ = Request(
    principal=PICKER, action="read", charter="clinic-booking", site="north-clinic",
    resource_type="Slot",
)  # fmt: skip
REVIEW = Request(
    principal=SOFIA, action="review", charter="clinic-booking", site="north-clinic",
    proposes="book", context=AUTHOR,
)  # fmt: skip


def test_engine_agrees_with_its_oracle_on_a_draw() -> None:
    tally = compare(1_500, seed=21)
    assert tally.differences == []


@pytest.mark.parametrize(
    ("verdict", "permitted"),
    [
        (Verdict(permits=("p",)), True),
        (Verdict(), False),
        (Verdict(permits=("p",), forbids=("f",)), False),
        (Verdict(permits=("p",), broken=True), False),
        (Verdict(forbids=("f",)), False),
    ],
)
def test_only_a_permit_without_a_forbid_or_a_fault_is_a_yes(
    verdict: Verdict, permitted: bool
) -> None:
    assert verdict.permitted is permitted


@pytest.mark.parametrize(
    ("request_", "resource"),
    [
        (READ, ("ResourceType", "Slot")),
        (replace(READ, action="search"), ("ResourceType", "Slot")),
        (replace(READ, resource_type=None), ("ResourceType", "")),
        (REVIEW, ("ProposalKind", "clinic-booking/book")),
        (replace(REVIEW, proposes=None), ("ProposalKind", "clinic-booking/")),
        (replace(REVIEW, action="halt"), ("Charter", "clinic-booking")),
        (replace(REVIEW, action="list", charter="*"), ("Charter", "*")),
    ],
)
def test_resource_is_that_of_the_action(request_: Request, resource: tuple[str, str]) -> None:
    assert resource_of(request_) == resource


def put(monkeypatch: pytest.MonkeyPatch, request: Request, **strict: Any) -> list[Any]:
    """What Cedar is asked: question, context and entities, for permits and then for forbids."""
    asked: list[Any] = []

    def noted(question: Any, policies: Any, entities: str) -> Any:
        plain = {name: question[name] for name in ("principal", "action", "resource")}
        asked.append((plain, json.loads(question["context"]), json.loads(entities)))
        return (("p",), False)

    monkeypatch.setattr(questions, "_ask", noted)
    book = compile_book(CHARTERS, forbids=[PSYCHIATRY], **strict)
    verdict = evaluate(book.rulebook, request)
    assert (verdict.permits, verdict.broken) == (("p",), False)
    return asked


def entity(type_: str, id_: str) -> dict[str, str]:
    return {"type": type_, "id": id_}


def test_question_of_a_client_holds_what_is_known_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = replace(
        READ, stage="pilot", workflow="w", relationship=frozenset({"encounter", "care-team"}),
        sensitivities=frozenset({"PSY", "ETH"}), confidentiality="R", break_glass=True,
        context=AUTHOR,
    )  # fmt: skip
    permits, forbids = put(monkeypatch, full)
    assert permits == forbids
    plain, context, entities = permits
    assert plain == {
        "principal": entity("Client", "slot-picker"),
        "action": entity("Action", "read"),
        "resource": entity("ResourceType", "Slot"),
    }
    always = {
        "site": {"__entity": entity("Site", "north-clinic")},
        "charter": "clinic-booking",
        "purpose": "TREAT",
        "production": False,
        "mfa_required": False,
    }
    assert context == {
        **always, "workflow": "w", "break_glass": True, "preliminary": False,
        "confidentiality": "R", "sensitivities": ["ETH", "PSY"], "stage": "pilot",
        "relationship": ["care-team", "encounter"],
    }  # fmt: skip
    assert entities == [
        {
            "uid": entity("Client", "slot-picker"),
            "attrs": {"agent": "client:slot-picker"},
            "parents": [entity("Charter", "clinic-booking")],
        }
    ]
    early = put(monkeypatch, replace(READ, preliminary=True))[0][1]
    assert early == {**always, "workflow": "read", "break_glass": False, "preliminary": True}


def test_question_of_a_person_holds_their_roles_and_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    who = Person(id="sofia", roles=("scheduler", "x"), sites=("north-clinic", "south"), mfa=True)
    request = replace(REVIEW, principal=who, stage="full", relationship=frozenset())
    plain, context, entities = put(monkeypatch, request, production=True)[0]
    assert plain["resource"] == entity("ProposalKind", "clinic-booking/book")
    assert context == {
        "site": {"__entity": entity("Site", "north-clinic")},
        "charter": "clinic-booking", "purpose": "TREAT", "workflow": "book",
        "production": True, "mfa_required": True, "break_glass": False,
        "stage": "full", "relationship": [], "author": "client:slot-picker",
    }  # fmt: skip
    person, kind = entities
    assert person["uid"] == entity("Person", "sofia")
    assert {name: person["attrs"][name] for name in ("agent", "client_agent", "mfa")} == {
        "agent": "person:sofia", "client_agent": "client:sofia", "mfa": True,
    }  # fmt: skip
    sites = [{"__entity": entity("Site", site)} for site in who.sites]
    assert person["attrs"]["sites"] == sites
    assert [parent for parent in person["parents"] if parent["type"] == "Role"] == [
        entity("Role", "scheduler"), entity("Role", "x"),
    ]  # fmt: skip
    assert kind == {
        "uid": entity("ProposalKind", "clinic-booking/book"),
        "attrs": {},
        "parents": [entity("Charter", "clinic-booking")],
    }


@pytest.mark.parametrize("action", ["halt", "list"])
def test_question_on_a_charter_holds_nothing_of_a_proposal(
    monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    who = Process(id="cli")
    request = replace(REVIEW, principal=who, action=action, stage="full", proposes=None)
    _, context, entities = put(monkeypatch, request)[0]
    assert {"stage", "relationship", "author", "preliminary"}.isdisjoint(context)
    assert context["workflow"] == action
    assert entities == [
        {"uid": entity("Process", "cli"), "attrs": {"agent": "process:cli"}, "parents": []}
    ]


def test_client_that_the_charter_does_not_name_is_not_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stranger = Client(id="stranger", charter="clinic-booking")
    (client,) = put(monkeypatch, replace(READ, principal=stranger))[0][2]
    assert client["parents"] == []


@pytest.mark.parametrize(
    "request_",
    [
        replace(READ, charter="nothing"),
        replace(READ, resource_type="Observation"),
        replace(READ, action="zap"),
        replace(REVIEW, charter="nothing", action="halt"),
    ],
)
def test_what_no_charter_knows_is_met_by_no_rule(request_: Request) -> None:
    assert evaluate(BOOK.rulebook, request_) == NOTHING


def test_rules_that_hold_are_named_by_their_ids_in_order() -> None:
    second = PSYCHIATRY.replace("site/psy", "a/psy")
    book = compile_book(CHARTERS, forbids=[PSYCHIATRY, second])
    hidden = replace(READ, resource_type="Patient", sensitivities=frozenset({"PSY"}))
    assert evaluate(book.rulebook, hidden) == Verdict(
        permits=("clinic-booking/read/Patient",), forbids=("a/psy", "site/psy")
    )
    unknown = replace(hidden, sensitivities=None)
    assert evaluate(book.rulebook, unknown).forbids == ("a/psy?", "site/psy?")
    assert evaluate(book.rulebook, replace(unknown, preliminary=True)).forbids == ()
    assert evaluate(BOOK.rulebook, hidden) == Verdict(permits=("clinic-booking/read/Patient",))
