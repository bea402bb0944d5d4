"""Questions that were asked are counted, found again and asked of other rules."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from chartgate.config import Config
from chartgate.errors import NotFound
from chartgate.flows import policies
from chartgate.gate import Gate, Running
from chartgate.model.decision import Request
from chartgate.model.principal import Client, Person
from chartgate.policy.asked import question_of, request_of
from chartgate.policy.charters import compile_book
from chartgate.policy.decide import decide
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database
from chartgate.store.policy_questions import PolicyQuestionStore
from chartgate.testing.clock import FakeClock
from tests.policy.test_decide import CHARTERS, PSYCHIATRY

PICKER = Client(id="slot-picker", charter="clinic-booking", scopes=("system/Patient.r",))
READ = Request(
    principal=PICKER,
    action="read",
    charter="clinic-booking",
    site="north-clinic",
    resource_type="Patient",
    relationship=frozenset({"care-team"}),
    sensitivities=frozenset({"PSY", "ETH"}),
    confidentiality="R",
)
BOUND = replace(READ, principal=replace(PICKER, sites=("south",)))
REVIEW = Request(
    principal=Person(id="sofia", roles=("scheduler",), sites=("north-clinic",), mfa=True),
    action="review",
    charter="clinic-booking",
    site="north-clinic",
    proposes="book",
    context=(("author", "client:slot-picker"),),
)


@pytest.fixture
async def gate(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Gate]:
    audit = AuditWriter(database)
    await audit.start()
    yield Gate(
        config=Config(folder=tmp_path),
        clock=clock,
        database=database,
        audit=audit,
        running=Running(charters=compile_book(CHARTERS)),
        sources={},
        sinks={},
    )
    await audit.close()


@pytest.mark.parametrize("request_", [READ, REVIEW, replace(READ, sensitivities=None), BOUND])
def test_question_when_it_went_through_json_then_it_is_decided_as_before(
    request_: Request,
) -> None:
    book = compile_book(CHARTERS)
    came_back = request_of(orjson.loads(orjson.dumps(question_of(request_))))
    assert question_of(came_back) == question_of(request_)
    assert decide(book, came_back) == decide(book, request_)


async def test_questions_when_they_are_flushed_then_each_is_there_once_with_its_count(
    gate: Gate,
) -> None:
    for _ in range(3):
        decide(gate.charters, READ)
    decide(gate.charters, REVIEW)
    assert await policies.flush_questions(gate) == 2
    assert await policies.flush_questions(gate) == 0
    decide(gate.charters, READ)
    assert await policies.flush_questions(gate) == 1
    known = {question_of(r)["action"]: count for r, count in await policies.recorded(gate)}
    assert known == {"read": 4, "review": 1}


async def test_questions_when_they_differ_in_what_no_rule_looks_at_then_they_are_one(
    gate: Gate,
) -> None:
    for scopes in ((), ("system/Slot.r",)):
        decide(gate.charters, replace(READ, principal=replace(PICKER, scopes=scopes)))
    assert await policies.flush_questions(gate) == 1
    assert [count for _, count in await policies.recorded(gate)] == [2]


async def test_questions_when_there_is_no_room_then_known_ones_are_counted_on(
    gate: Gate, database: Database, clock: FakeClock
) -> None:
    store = PolicyQuestionStore(database, questions_max=2)
    at, long_ago = clock(), clock() - policies.FORGOTTEN_AFTER
    await store.count({b"1": 1, b"2": 1}, at=at, since=long_ago)
    await store.count({b"2": 5, b"3": 1}, at=at, since=long_ago)
    assert [(row.question, row.count) for row in await store.listed()] == [(b"2", 6), (b"1", 1)]


async def test_questions_when_they_were_not_asked_for_long_then_they_are_forgotten(
    gate: Gate, clock: FakeClock
) -> None:
    decide(gate.charters, READ)
    await policies.flush_questions(gate)
    clock.advance(policies.FORGOTTEN_AFTER.total_seconds() + 1)
    decide(gate.charters, REVIEW)
    await policies.flush_questions(gate)
    assert [r.action for r, _ in await policies.recorded(gate)] == ["review"]


async def test_decision_when_its_id_is_given_then_its_question_is_found(gate: Gate) -> None:
    decision = decide(gate.charters, READ)
    await policies.flush_questions(gate)
    found = await policies.request_with(gate, decision.id)
    assert question_of(found) == question_of(READ)
    with pytest.raises(NotFound, match="the audit entry names"):
        await policies.request_with(gate, "0" * 64)


def test_diff_when_a_forbid_is_added_then_what_was_asked_comes_first() -> None:
    before, after = compile_book(CHARTERS), compile_book(CHARTERS, forbids=[PSYCHIATRY])
    n, found = policies.differing(before, after, [(READ, 7), (REVIEW, 2)])
    assert n > 100
    assert (found[0].request, found[0].count) == (READ, 7)
    assert all(each.before.permitted and not each.after.permitted for each in found)
    assert {each.after.rule for each in found} == {"site/psy"}
    assert policies.differing(before, before, [(READ, 7)])[1] == ()
