"""Several changes for a system without transactions: all of them once, or none, or told exactly."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from chartgate.adapters.fhir_r4.dialect import Habits
from chartgate.adapters.fhir_r4.preconditions import SAY_APART
from chartgate.errors import InvalidTransition
from chartgate.failpoints import armed
from chartgate.flows import erasure, halts, reviews, rollbacks, sagas, vault
from chartgate.flows.partial import SAY_PARTLY, SAY_PARTLY_UNDONE
from chartgate.flows.undo_ground import Ground, look
from chartgate.gate import Gate
from chartgate.model.proposal import Proposal, Status
from chartgate.model.write import change_json
from chartgate.store.database import Database
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import Attempt, Direction, ProposalStore
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import OPERATOR, SITE, SOFIA, Killed
from tests.flows.stepping import Stepping, open_stepping, take_transactions_away


@pytest.fixture
async def stepping(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Stepping]:
    async with open_stepping(database, clock, tmp_path) as opened:
        yield opened


async def attempts(
    stepping: Stepping, proposal: Proposal, direction: Direction = "commit"
) -> tuple[Attempt, ...]:
    return await ProposalStore(stepping.clinic.database).attempts(proposal.id, direction)


async def test_changes_go_one_after_the_other_and_land_once(stepping: Stepping) -> None:
    approved = await stepping.approved()
    assert await stepping.work()
    done = await stepping.clinic.get(approved)
    assert done.status is Status.VERIFIED
    methods = [(r.method, r.status) for r in stepping.clinic.hospital.journal.requests]
    assert methods == [("POST", 201), ("PATCH", 200), ("PATCH", 200)]
    assert len(stepping.booked(approved)) == 1
    assert (stepping.status(0), stepping.status(1)) == ("busy", "busy")
    (attempt,) = await attempts(stepping, approved)
    assert attempt.verdict == "applied"
    assert done.receipt is not None
    assert attempt.done == done.receipt.effects


async def test_system_with_transactions_still_gets_one(stepping: Stepping) -> None:
    stepping.clinic.adapter.adopt(
        {line: (True, "test") for line in stepping.clinic.adapter._habits.verdicts}
    )
    approved = await stepping.approved()
    await stepping.work()
    assert (await stepping.clinic.get(approved)).status is Status.VERIFIED
    (request,) = stepping.clinic.hospital.journal.requests
    assert (request.method, request.path) == ("POST", ""), "a transaction"


@pytest.mark.parametrize("point", ["c17.answered", "c17.noted"])
@pytest.mark.parametrize("passes", [0, 1, 2])
async def test_worker_killed_between_two_changes_leaves_what_another_finishes(
    stepping: Stepping, point: str, passes: int
) -> None:
    approved = await stepping.approved()
    with armed(point, die, after=passes), pytest.raises(Killed):
        await stepping.work()
    assert (await stepping.clinic.get(approved)).status is Status.COMMITTING
    stepping.clinic.clock.advance(31)
    done = await stepping.until_done(approved)
    assert done.status is Status.VERIFIED
    assert_landed_once(stepping, approved)


@pytest.mark.parametrize("deed", ["lose", "hold", "down", "kill-before", "kill-after"])
@pytest.mark.parametrize("number", [0, 1, 2])
async def test_change_whose_answer_is_lost_is_made_once(
    stepping: Stepping, number: int, deed: str
) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds[number] = deed
    done = await stepping.until_done(approved)
    assert done.status is Status.VERIFIED
    assert_landed_once(stepping, approved)
    if deed == "hold":
        effects = len(stepping.clinic.hospital.journal.effects)
        await stepping.sink.release()
        assert len(stepping.clinic.hospital.journal.effects) == effects, "it came too late"


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_held_request_that_arrives_before_the_next_try_is_made_once(
    stepping: Stepping, number: int
) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds[number] = "hold"
    await stepping.turn()
    assert await stepping.sink.release()
    done = await stepping.until_done(approved)
    assert done.status is Status.VERIFIED
    assert_landed_once(stepping, approved)


async def test_first_change_that_arrives_after_it_went_back_is_taken_back_or_finished(
    stepping: Stepping,
) -> None:
    """Its guards were to be looked at anew: what came late must not be taken for nothing."""
    approved = await stepping.approved()
    stepping.sink.deeds[0] = "hold"
    await stepping.turn()
    stepping.clinic.clock.advance(31)
    await stepping.turn()
    assert (await stepping.clinic.get(approved)).status is Status.APPROVED
    assert await stepping.sink.release()
    stepping.edit(stepping.slots[1], status="busy-tentative")
    done = await stepping.until_done(approved)
    assert done.status is Status.PENDING_REVIEW, "the slot is another's"
    assert not stepping.booked(approved)
    assert stepping.status(0) == "free"


@pytest.mark.parametrize("number", [1, 2])
async def test_refused_change_takes_back_those_before_it(stepping: Stepping, number: int) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds[number] = "refuse"
    await stepping.work()
    handed = await stepping.clinic.get(approved)
    assert handed.status is Status.HANDED_OFF
    assert stepping.is_as_before(approved)
    appointment = stepping.made(approved)[0].reference
    taken = [stepping.slots[0], appointment][2 - number :]
    assert handed.reason == (
        f"north-ehr refused the write; {sagas.SAY_TAKEN_BACK}: {', '.join(taken)}"
    )
    (attempt,) = await attempts(stepping, approved)
    (undo,) = await attempts(stepping, approved, "compensation")
    assert (attempt.verdict, undo.verdict) == ("not-applied", "applied")
    (event,) = await stepping.clinic.audited("proposal.compensate")
    assert event["reason"] == "refused"


async def test_conflict_in_the_middle_takes_back_and_is_worked_out_anew(
    stepping: Stepping,
) -> None:
    approved = await stepping.approved()
    stepping.edit_before(2, stepping.slots[1], status="busy-tentative")
    done = await stepping.until_done(approved)
    assert done.status is Status.PENDING_REVIEW
    assert not stepping.booked(approved)
    assert stepping.status(0) == "free"
    assert stepping.status(1) == "busy-tentative"
    (event,) = await stepping.clinic.audited("proposal.not-sent")
    assert event["reason"] == "conflict"


async def test_conflict_that_is_none_for_the_guards_is_written_in_the_end(
    stepping: Stepping,
) -> None:
    """What was made and taken back keeps its mark: what is made anew must not be taken for it."""
    approved = await stepping.approved()
    stepping.edit_before(2, stepping.slots[1], comment="seen by the desk")
    done = await stepping.until_done(approved)
    assert done.status is Status.VERIFIED
    first, second = stepping.made(approved)
    assert stepping.booked(approved) == [second.reference]
    assert stepping.clinic.hospital.resource(first.reference)["status"] == "cancelled"
    assert done.receipt is not None
    assert done.receipt.effects[0].reference == second.reference
    assert (stepping.status(0), stepping.status(1)) == ("busy", "busy")


async def test_what_somebody_changed_meanwhile_is_not_taken_back_and_said(
    stepping: Stepping,
) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds[2] = "refuse"
    stepping.edit_before(3, stepping.slots[0], comment="the desk was here")
    await stepping.work()
    handed = await stepping.clinic.get(approved)
    appointment = stepping.made(approved)[0].reference
    assert handed.status is Status.HANDED_OFF
    assert handed.reason == (
        f"{SAY_PARTLY}{appointment}, {stepping.slots[0]} were written and stand;"
        f" {stepping.slots[1]} was not written; look at the record"
    )
    assert stepping.booked(approved) == [appointment]
    (attempt,) = await attempts(stepping, approved)
    assert attempt.verdict == "partly"
    handoff = await HandoffStore(stepping.clinic.database).of_proposal(approved.id)
    assert handoff is not None
    assert handoff.cause.value == "partly"


async def test_what_could_be_taken_back_before_that_is_named_apart(stepping: Stepping) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds[2] = "refuse"
    stepping.sink.deeds[4] = "refuse"
    await stepping.work()
    handed = await stepping.clinic.get(approved)
    appointment = stepping.made(approved)[0].reference
    assert handed.reason == (
        f"{SAY_PARTLY}{appointment} was written and stands; {stepping.slots[0]} was taken back;"
        f" {stepping.slots[1]} was not written; look at the record"
    )
    assert stepping.status(0) == "free"


@pytest.mark.parametrize("deed", ["lose", "hold", "down", "kill-before", "kill-after"])
@pytest.mark.parametrize("number", [3, 4])
async def test_taking_back_goes_on_after_a_fault_and_is_done_once(
    stepping: Stepping, number: int, deed: str
) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds[2] = "refuse"
    stepping.sink.deeds[number] = deed
    done = await stepping.until_done(approved)
    assert done.status is Status.HANDED_OFF
    assert sagas.SAY_TAKEN_BACK in (done.reason or "")
    assert stepping.is_as_before(approved)
    assert len(stepping.effects_on(stepping.slots[0])) == 2, "made once, taken back once"
    assert not stepping.effects_on(stepping.slots[1]), "it never goes forward again"


@pytest.mark.parametrize(
    ("point", "passes"), [("c17.undo", 0), ("c17.answered", 2), ("c17.noted", 2), ("c17.noted", 3)]
)
async def test_worker_killed_while_taking_back_leaves_what_another_finishes(
    stepping: Stepping, point: str, passes: int
) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds[2] = "refuse"
    with armed(point, die, after=passes), pytest.raises(Killed):
        await stepping.work()
    stepping.clinic.clock.advance(31)
    done = await stepping.until_done(approved)
    assert done.status is Status.HANDED_OFF
    assert stepping.is_as_before(approved)
    assert not stepping.effects_on(stepping.slots[1])


@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_halt_in_the_middle_holds_the_rest_until_it_ends(
    stepping: Stepping, number: int
) -> None:
    approved = await stepping.approved()
    clinic = stepping.clinic
    if number > 2:
        stepping.sink.deeds[2] = "refuse"

    async def halted() -> None:
        await halts.halt(clinic.gate, OPERATOR, reason="drill")

    stepping.sink.before_request[number] = halted
    await stepping.turn()
    requests = len(clinic.hospital.journal.requests)
    assert requests < 5
    for _ in range(5):
        clinic.clock.advance(301)
        await stepping.turn()
    assert len(clinic.hospital.journal.requests) == requests
    assert (await clinic.get(approved)).status is Status.COMMITTING
    await halts.resume(clinic.gate, OPERATOR, reason="over")
    assert await stepping.work(), "due at once"
    done = await clinic.get(approved)
    if number > 2:
        assert stepping.is_as_before(approved)
        assert done.status is Status.HANDED_OFF
    else:
        assert done.status is Status.VERIFIED
        assert_landed_once(stepping, approved)


async def test_shadow_in_the_middle_takes_back_what_was_made(stepping: Stepping) -> None:
    approved = await stepping.approved()

    async def back_to_shadow() -> None:
        await halts.set_stage(stepping.clinic.gate, OPERATOR, "clinic-booking", "shadow")

    stepping.sink.before_request[1] = back_to_shadow
    await stepping.work()
    handed = await stepping.clinic.get(approved)
    assert handed.status is Status.HANDED_OFF
    assert (handed.reason or "").startswith(sagas.SAY_SHADOW)
    assert stepping.is_as_before(approved)


async def test_worker_whose_lease_ended_in_the_middle_sends_and_notes_nothing_more(
    stepping: Stepping,
) -> None:
    approved = await stepping.approved()

    async def taken_over() -> None:
        stepping.clinic.clock.advance(31)
        await stepping.work("w2")

    stepping.sink.before_request[1] = taken_over
    await stepping.work()
    done = await stepping.until_done(approved)
    assert done.status is Status.VERIFIED
    assert_landed_once(stepping, approved)
    with pytest.raises(InvalidTransition):
        await ProposalStore(stepping.clinic.database).note_done(approved, "commit", 1, ())


async def test_system_that_stays_away_leaves_staff_with_what_stands(stepping: Stepping) -> None:
    approved = await stepping.approved()

    async def gone() -> None:
        stepping.clinic.hospital.faults.switch("down", "503")

    stepping.sink.before_request[1] = gone
    done = await stepping.until_done(approved)
    assert done.status is Status.HANDED_OFF
    (appointment,) = stepping.booked(approved)
    left, right = stepping.slots
    assert done.reason == (
        f"{SAY_PARTLY}{appointment} was written and stands; {right} was not written; what became of"
        f" {left} could not be found out; look at the record"
    )
    (attempt,) = await attempts(stepping, approved)
    assert attempt.verdict == "cannot-tell"


async def test_rollback_goes_one_after_the_other_too(stepping: Stepping) -> None:
    approved = await stepping.approved()
    await stepping.work()
    await ask(stepping, approved)
    done = await stepping.until_done(approved)
    assert done.status is Status.ROLLED_BACK
    assert stepping.is_as_before(approved)


@pytest.mark.parametrize("deed", ["lose", "hold", "down", "kill-before", "kill-after"])
@pytest.mark.parametrize("number", [3, 4, 5])
async def test_rollback_with_a_fault_in_the_middle_is_done_once(
    stepping: Stepping, number: int, deed: str
) -> None:
    approved = await stepping.approved()
    await stepping.work()
    await ask(stepping, approved)
    stepping.sink.deeds[number] = deed
    done = await stepping.until_done(approved)
    assert done.status is Status.ROLLED_BACK
    assert stepping.is_as_before(approved)
    for slot in stepping.slots:
        assert len(stepping.effects_on(slot)) == 2


async def test_rollback_that_is_refused_in_the_middle_says_what_stands(
    stepping: Stepping,
) -> None:
    approved = await stepping.approved()
    await stepping.work()
    await ask(stepping, approved)
    stepping.sink.deeds[4] = "refuse"
    done = await stepping.until_done(approved)
    assert done.status is Status.HANDED_OFF
    (appointment,) = stepping.booked(approved)
    left, right = stepping.slots
    assert done.reason == (
        f"{SAY_PARTLY_UNDONE}{left}, {appointment} were written and stand; {right} was taken back;"
        " look at the record"
    )
    (undo,) = await attempts(stepping, approved, "rollback")
    assert undo.verdict == "partly"


async def test_system_in_which_nothing_could_be_taken_back_is_refused_as_before(
    stepping: Stepping,
) -> None:
    """Without a PUT that minds If-Match no patch could be taken back: so it is not begun."""
    take_transactions_away(stepping.clinic, "transaction_atomic", "if_match_on_put")
    approved = await stepping.approved()
    await stepping.work()
    handed = await stepping.clinic.get(approved)
    assert handed.status is Status.HANDED_OFF
    assert "transaction_atomic" in (handed.reason or "")
    assert not stepping.clinic.hospital.journal.requests


async def ask(stepping: Stepping, proposal: Proposal) -> None:
    await rollbacks.request_rollback(stepping.clinic.gate, SOFIA, proposal.id, reason="wrong day")


def assert_landed_once(stepping: Stepping, proposal: Proposal) -> None:
    assert len(stepping.made(proposal)) == 1
    assert len(stepping.booked(proposal)) == 1
    for slot in stepping.slots:
        assert len(stepping.effects_on(slot)) == 1
        assert stepping.clinic.hospital.resource(slot)["status"] == "busy"


def die() -> None:
    raise Killed


async def test_what_was_taken_back_is_not_taken_for_an_earlier_try_that_arrived(
    stepping: Stepping,
) -> None:
    """The first try was lost on its way; the second bears its mark, and was taken back."""
    approved = await stepping.approved()
    stepping.sink.deeds[0] = "hold"
    await stepping.turn()
    stepping.clinic.clock.advance(31)
    await stepping.turn()
    stepping.edit_before(3, stepping.slots[1], comment="seen by the desk")
    done = await stepping.until_done(approved)
    assert done.status is Status.VERIFIED
    verdicts = [attempt.verdict for attempt in await attempts(stepping, approved)]
    assert verdicts == ["not-applied", "not-applied", "applied"]
    assert len(stepping.booked(approved)) == 1
    effects = len(stepping.clinic.hospital.journal.effects)
    await stepping.sink.release()
    assert len(stepping.clinic.hospital.journal.effects) == effects


async def test_what_is_noted_is_sealed_scrubbed_and_erased(stepping: Stepping) -> None:
    approved = await stepping.approved()
    await stepping.work()
    done = await stepping.clinic.get(approved)
    database = stepping.clinic.database
    assert (await vault.scrub(stepping.clinic.gate)).tables["proposal_attempt"]["sound"] == 2
    broken = "UPDATE proposal_attempt SET done = set_byte(done, 40, get_byte(done, 40) # 1)"
    async with database.bookkeeping() as transaction:
        await transaction.execute(broken)
    assert (await vault.scrub(stepping.clinic.gate)).tables["proposal_attempt"]["damaged"] == 1
    assert done.patient is not None
    await erasure.erase(stepping.clinic.gate, OPERATOR, SITE, done.patient, reason="asked for")
    left = "SELECT octet_length(done) FROM proposal_attempt WHERE tenant = $1"
    assert await database.fetch_value(left) == 0


async def test_fault_of_our_own_leaves_staff_with_what_stands(
    stepping: Stepping, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds[1] = "kill-before"
    await stepping.turn()

    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sagas, "_noted", broken)
    for _ in range(12):
        stepping.clinic.clock.advance(62)
        with suppress(ZeroDivisionError):
            await stepping.work()
    handed = await stepping.clinic.get(approved)
    assert handed.status is Status.HANDED_OFF
    (appointment,) = stepping.booked(approved)
    assert (handed.reason or "").startswith(f"{SAY_PARTLY}{appointment} was written and stands")


async def test_what_was_taken_back_by_a_delete_is_made_once_though_the_first_try_comes_late(
    stepping: Stepping, monkeypatch: pytest.MonkeyPatch
) -> None:
    habits = stepping.clinic.adapter._habits
    bare = Habits(replace(habits.dialect, stand_ins={}), habits.verdicts)
    monkeypatch.setattr(stepping.clinic.adapter, "_habits", bare)
    approved = await stepping.approved()
    stepping.sink.deeds[0] = "hold"
    await stepping.turn()
    stepping.clinic.clock.advance(31)
    await stepping.turn()
    arrived = []

    async def edited() -> None:
        stepping.edit(stepping.slots[1], comment="seen by the desk")

    async def comes_late() -> None:
        arrived.append(await stepping.sink.release())

    stepping.sink.before_request[3] = edited
    stepping.sink.before_request[6] = comes_late
    done = await stepping.until_done(approved)
    assert done.status is Status.VERIFIED
    assert arrived == [True]
    deleted = [e for e in stepping.clinic.hospital.journal.effects if e.interaction == "delete"]
    assert len(stepping.made(approved)) == 2
    assert len(deleted) == 1
    assert done.receipt is not None
    assert done.receipt.effects[0].reference == stepping.made(approved)[1].reference


async def test_probe_of_a_system_that_keeps_half_of_a_transaction_leads_to_one_after_the_other(
    stepping: Stepping,
) -> None:
    clinic = stepping.clinic
    clinic.hospital.faults.switch("keep_half", True)
    verdicts = await clinic.adapter.probe(lambda _: None)
    clinic.adapter.adopt({v.line: (v.holds, v.detail) for v in verdicts})
    rights = {right.kind: right for right in clinic.adapter.write_rights()}
    assert rights["create"].on
    assert not rights["create, several together"].on
    assert rights["create, several together"].sentence.endswith(SAY_APART)
    approved = await stepping.approved()
    await stepping.work()
    assert (await clinic.get(approved)).status is Status.VERIFIED
    assert len(clinic.hospital.journal.requests) == 3
    assert_landed_once(stepping, approved)


async def test_rollback_whose_first_request_arrives_between_two_looks_is_no_chart_that_moved_on(
    stepping: Stepping, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved = await stepping.approved()
    await stepping.work()
    await ask(stepping, approved)
    stepping.sink.deeds[3] = "hold"
    await stepping.turn()

    async def arrives_first(gate: Gate, proposal: Proposal) -> Ground:
        if stepping.sink.held:
            assert await stepping.sink.release()
        return await look(gate, proposal)

    monkeypatch.setattr(rollbacks, "look", arrives_first)
    stepping.clinic.clock.advance(31)
    done = await stepping.until_done(approved)
    assert done.status is Status.ROLLED_BACK
    assert stepping.is_as_before(approved)


async def test_first_change_of_an_earlier_version_that_lands_late_is_taken_back(
    stepping: Stepping,
) -> None:
    """Sent, not found, in conflict, edited, approved anew: and then its first request arrives."""
    clinic = stepping.clinic
    approved = await stepping.approved(backwards=True)
    stepping.sink.deeds[0] = "hold"
    await stepping.turn()
    clinic.clock.advance(31)
    await stepping.turn()
    booked = approved.content.changes[2].resource or {}
    clinic.hospital.edit({**booked, "id": "made-by-the-desk"})
    conflicted = await stepping.until_done(approved)
    assert conflicted.status is Status.PENDING_REVIEW
    clinic.hospital.edit({**booked, "id": "made-by-the-desk", "status": "cancelled"})
    changes = [change_json(change) for change in conflicted.content.changes]
    changes[2]["resource"] = {**changes[2]["resource"], "comment": "as edited"}
    edited = await reviews.edit(
        clinic.gate, SOFIA, approved.id, changes_raw=changes, digest=conflicted.content.digest
    )
    await clinic.approve(edited)
    assert await stepping.sink.release()
    done = await stepping.until_done(approved)
    assert done.status is Status.VERIFIED
    (appointment,) = stepping.booked(approved)
    assert clinic.hospital.resource(appointment)["comment"] == "as edited"
    (event,) = await clinic.audited("proposal.compensate")
    assert event["details"]["writes"] == "patch"


async def test_first_change_that_arrives_late_is_not_finished_where_a_guard_says_no(
    stepping: Stepping,
) -> None:
    clinic = stepping.clinic
    approved = await stepping.approved(backwards=True)
    stepping.sink.deeds[0] = "hold"
    await stepping.turn()
    clinic.clock.advance(31)
    await stepping.turn()
    assert await stepping.sink.release()
    booked = approved.content.changes[2].resource or {}
    clinic.hospital.edit({**booked, "id": "made-by-the-desk"})
    done = await stepping.until_done(approved)
    assert done.status is Status.PENDING_REVIEW
    assert not stepping.made(approved), "the desk was first"
    assert stepping.is_as_before(approved)


@pytest.mark.parametrize("number", [1, 2])
async def test_held_request_that_arrives_right_before_the_next_try_is_known_as_ours(
    stepping: Stepping, number: int
) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds[number] = "hold"

    async def arrives() -> None:
        assert await stepping.sink.release()

    stepping.sink.before_request[number + 1] = arrives
    done = await stepping.until_done(approved)
    assert done.status is Status.VERIFIED
    assert_landed_once(stepping, approved)


async def test_nothing_is_taken_back_while_a_request_may_still_arrive(stepping: Stepping) -> None:
    """The next try is refused, as by a token that ended; the first one is still on its way."""
    approved = await stepping.approved()
    stepping.sink.deeds.update({1: "hold", 2: "refuse"})
    for _ in range(2):
        await stepping.turn()
        stepping.clinic.clock.advance(31)
    assert (await stepping.clinic.get(approved)).status is Status.COMMITTING
    assert not await stepping.clinic.audited("proposal.compensate")
    assert await stepping.sink.release()
    done = await stepping.until_done(approved)
    assert done.status is Status.VERIFIED
    assert_landed_once(stepping, approved)


async def test_request_that_may_arrive_for_too_long_is_told_to_staff(stepping: Stepping) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds.update({1: "hold", **dict.fromkeys(range(2, 40), "refuse")})
    done = await stepping.until_done(approved)
    assert done.status is Status.HANDED_OFF
    assert f"what became of {stepping.slots[0]} could not be found out" in (done.reason or "")
    (appointment,) = stepping.booked(approved)
    assert f"{appointment} was written and stands" in (done.reason or "")


async def test_same_change_by_somebody_else_is_not_taken_for_ours(stepping: Stepping) -> None:
    approved = await stepping.approved()

    async def desk_does_it() -> None:
        stepping.edit(stepping.slots[0], status="busy")

    stepping.sink.before_request[1] = desk_does_it
    done = await stepping.until_done(approved)
    assert done.status is Status.HANDED_OFF
    assert f"what became of {stepping.slots[0]} could not be found out" in (done.reason or "")
    (attempt,) = await attempts(stepping, approved)
    assert attempt.verdict == "cannot-tell"


async def test_what_somebody_else_took_back_meanwhile_is_taken_back(stepping: Stepping) -> None:
    approved = await stepping.approved()
    stepping.sink.deeds[2] = "refuse"

    async def desk_does_it() -> None:
        stepping.edit(stepping.slots[0], status="free")

    stepping.sink.before_request[3] = desk_does_it
    done = await stepping.until_done(approved)
    assert done.status is Status.HANDED_OFF
    assert sagas.SAY_TAKEN_BACK in (done.reason or "")
    assert stepping.is_as_before(approved)
