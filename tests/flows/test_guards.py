"""A look at a live system: which guards hold, what each says, and what is never asked in vain."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chartgate.errors import NotFound, SourceUnreachable, Throttled, Unprocessable
from chartgate.flows.grounds import Grounds
from chartgate.flows.guards import (
    FOUND_MAX,
    WATCHED_MAX,
    GuardResult,
    Standing,
    cannot_tell,
    check_guardable,
    look,
    look_bounded,
    searches_of,
    targets,
    together,
    watched,
)
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.gate import Gate
from chartgate.model.charter import ActionRule, GuardRule
from chartgate.model.proposal import Proposal
from chartgate.model.resource import Copy, Resource, SearchPage
from chartgate.model.write import Change
from chartgate.policy.content import parse_changes
from chartgate.policy.differences import content_of
from tests.policy.test_decide import BOOK

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
ACTION = BOOK.get("clinic-booking").proposes["book"]
START = "2026-03-03T09:00:00Z"
SLOT: Resource = {
    "resourceType": "Slot", "id": "12", "status": "free", "start": START,
    "end": "2026-03-03T09:30:00Z", "schedule": {"reference": "Schedule/3"},
}  # fmt: skip
OTHER_SLOT: Resource = {**SLOT, "id": "13"}
APPOINTMENT: Resource = {
    "resourceType": "Appointment", "status": "booked", "start": START,
    "slot": [{"reference": "Slot/12"}],
    "participant": [{"actor": {"reference": "Practitioner/4"}, "status": "accepted"}],
}  # fmt: skip
TAKE: dict[str, Any] = {
    "interaction": "patch", "reference": "Slot/12", "ifMatch": "3",
    "patch": [{"op": "replace", "path": "/status", "value": "busy"}],
}  # fmt: skip
BOOKING = [{"interaction": "create", "resource": APPOINTMENT}, TAKE]
SEEN: dict[str, Resource] = {"Slot/12": SLOT, "Slot/13": OTHER_SLOT}
SAME = "same: status, start, end of Slot/12"
NONE = f"none: {ACTION.guards[1].query}"
SHOWN = "as shown: Slot/12"


def grounds(bodies: dict[str, Resource] = SEEN) -> Grounds:
    return Grounds(seen={}, bodies=bodies)


def guarded(*guards: GuardRule) -> ActionRule:
    return replace(ACTION, guards=guards)


def proposal(raw: list[dict[str, Any]], before: dict[str, Resource] = SEEN) -> Proposal:
    content = content_of(parse_changes(raw), before, version=1)
    return cast(Proposal, SimpleNamespace(connection="ehr", content=content))


def copy(body: Resource, version: str = "3") -> Copy:
    reference, raw = f"{body['resourceType']}/{body['id']}", canonical_bytes(body)
    return Copy(reference=reference, version=version, digest=digest(raw), body=raw, as_of=NOW)


class Live:
    """A system of record as it stands now, which notes what it was asked."""

    def __init__(self, *copies: Copy, found: Sequence[Copy] = ()) -> None:
        self.copies = {c.reference: c for c in copies}
        self.found = tuple(found)
        self.read_: list[str] = []
        self.searched: list[tuple[str, Any, int]] = []
        self.error: Exception | None = None

    async def read(self, reference: str) -> Copy:
        self.read_.append(reference)
        if self.error:
            raise self.error
        if reference not in self.copies:
            raise NotFound(reference)
        return self.copies[reference]

    async def search(self, resource_type: str, criteria: Any, *, count_max: int) -> SearchPage:
        self.searched.append((resource_type, tuple(criteria), count_max))
        return SearchPage(copies=self.found[:count_max], complete=True, as_of=NOW)

    def gate(self) -> Gate:
        return cast(Gate, SimpleNamespace(source={"ehr": self}.__getitem__))


async def seen_by(live: Live, proposed: Proposal, action: ActionRule = ACTION) -> Standing:
    return await look(live.gate(), proposed, action, grounds())


def holds(standing: Standing) -> dict[str, bool | None]:
    return {result.guard: result.holds for result in standing.results}


async def test_nothing_changed_then_every_guard_holds_and_says_so() -> None:
    live = Live(copy(SLOT))
    standing = await seen_by(live, proposal(BOOKING))
    assert standing.results == (
        GuardResult(
            guard=SAME, holds=True, sentence="status, start, end of Slot/12 are as they were"
        ),
        GuardResult(guard=NONE, holds=True, sentence="there is still no such Appointment"),
        GuardResult(guard=SHOWN, holds=True, sentence="Slot/12 would change as shown"),
    )
    assert (standing.live, standing.gone, standing.broken) == ({"Slot/12": copy(SLOT)}, (), ())
    assert live.read_ == ["Slot/12"]
    query = (("actor", "Practitioner/4"), ("date", START), ("status", "booked"))
    assert live.searched == [("Appointment", query, FOUND_MAX + 1)]


async def test_everything_changed_then_every_guard_is_broken_and_says_why() -> None:
    busy = {**SLOT, "status": "busy", "end": "2026-03-03T10:00:00Z"}
    rival = {**APPOINTMENT, "id": "77"}
    standing = await seen_by(Live(copy(busy, "4"), found=[copy(rival)]), proposal(BOOKING))
    query = ACTION.guards[1].query
    assert [(r.guard, r.holds, r.sentence) for r in standing.results] == [
        (SAME, False, "status, end of Slot/12 changed in the record since it was read"),
        (NONE, False, f"there is Appointment in the record that must not be there: {query}"),
        (SHOWN, False, "what is to change in Slot/12 is not as it was shown any more"),
    ]
    assert standing.broken == standing.results


async def test_what_is_gone_breaks_its_guards_and_is_named() -> None:
    standing = await seen_by(Live(), proposal(BOOKING))
    assert [(r.guard, r.holds, r.sentence) for r in standing.results] == [
        (SAME, False, "Slot/12 is no longer there"),
        (NONE, True, "there is still no such Appointment"),
        (SHOWN, False, "Slot/12 is no longer there"),
    ]
    assert (standing.live, standing.gone) == ({}, ("Slot/12",))


async def test_what_is_gone_does_not_hide_what_is_next() -> None:
    """Two slots taken at once: each has its own two results, whatever became of the other."""
    both = [TAKE, {**TAKE, "reference": "Slot/13"}]
    proposed, action = proposal(both), guarded(ACTION.guards[0])
    standing = await seen_by(Live(copy({**OTHER_SLOT, "comment": "x"}, "9")), proposed, action)
    assert holds(standing) == {
        SAME: False,
        SAME.replace("12", "13"): True,
        SHOWN: False,
        SHOWN.replace("12", "13"): True,
    }
    assert standing.gone == ("Slot/12",)


@pytest.mark.parametrize(
    ("found", "still_none"),
    [
        ([], True),
        ([copy(SLOT)], True),  # of another type: an OperationOutcome, or what was included
        ([copy({**APPOINTMENT, "id": "5"})], True),  # the proposal's own
        ([copy({**APPOINTMENT, "id": "5"}), copy({**APPOINTMENT, "id": "6"})], False),
        ([copy(SLOT)] * FOUND_MAX + [copy({**APPOINTMENT, "id": "6"})], False),
    ],
)
async def test_search_finds_none_but_what_the_proposal_itself_changes(
    found: list[Copy], still_none: bool
) -> None:
    own = {**APPOINTMENT, "id": "5"}
    move = {**TAKE, "reference": "Appointment/5"}
    live = Live(copy(own), found=found)
    standing = await look(
        live.gate(),
        proposal([move], {"Appointment/5": own}),
        guarded(GuardRule(kind="none", query="Appointment?status=booked")),
        grounds({"Appointment/5": own}),
    )
    assert holds(standing) == {
        "none: Appointment?status=booked": still_none,
        "as shown: Appointment/5": True,
    }
    assert live.searched == [("Appointment", (("status", "booked"),), FOUND_MAX + 1)]


async def test_sentence_names_the_type_that_was_searched_for_and_the_whole_search() -> None:
    query = "Appointment?identifier=what?"
    live = Live(copy(SLOT), found=[copy({**APPOINTMENT, "id": "6"})])
    action = guarded(GuardRule(kind="none", query=query))
    (broken,) = (await seen_by(live, proposal(BOOKING), action)).broken
    assert broken.sentence == (
        f"there is Appointment in the record that must not be there: {query}"
    )


@pytest.mark.parametrize(
    ("change", "live", "version", "as_shown"),
    [
        (TAKE, SLOT, "3", True),
        (TAKE, SLOT, "4", True),  # another version; what changes is the same
        (TAKE, {**SLOT, "comment": "x"}, "4", True),
        (TAKE, {**SLOT, "status": "busy"}, "4", False),
        (TAKE, {**SLOT, "status": "entered-in-error"}, "4", False),
        ({**TAKE, "patch": [{"op": "test", "path": "/status", "value": "free"}, *TAKE["patch"]]},
         {**SLOT, "status": "busy"}, "4", False),
        ({**TAKE, "patch": [{"op": "remove", "path": "/end"}]},
         {k: v for k, v in SLOT.items() if k != "end"}, "4", False),
        # What replaces the whole stands on one version, and on no other.
        ({"interaction": "update", "resource": {**SLOT, "status": "busy"}, "ifMatch": "3"},
         SLOT, "3", True),
        ({"interaction": "update", "resource": {**SLOT, "status": "busy"}, "ifMatch": "3"},
         SLOT, "4", False),
        ({"interaction": "update", "resource": {**SLOT, "status": "busy"}, "ifMatch": "3"},
         {**SLOT, "comment": "x"}, "3", False),
    ],
)  # fmt: skip
async def test_change_is_as_it_was_shown(
    change: dict[str, Any], live: Resource, version: str, as_shown: bool
) -> None:
    standing = await seen_by(Live(copy(live, version)), proposal([change]), guarded())
    assert holds(standing) == {SHOWN: as_shown}


async def test_order_of_keys_is_no_difference() -> None:
    """What is stored has its keys in canonical order; what was submitted had the client's."""
    turned = {name: SLOT[name] for name in sorted(SLOT, reverse=True)}
    after = {**turned, "status": "busy", "end": START}
    change = {"interaction": "update", "resource": after, "ifMatch": "3"}
    proposed = proposal([change], {"Slot/12": turned})
    assert holds(await seen_by(Live(copy(SLOT)), proposed, guarded())) == {SHOWN: True}


async def test_each_change_is_held_to_what_was_shown_of_it() -> None:
    """The differences of one resource say nothing about another."""
    both = [TAKE, {**TAKE, "reference": "Slot/13"}]
    live = Live(copy(SLOT), copy({**OTHER_SLOT, "status": "busy"}))
    standing = await seen_by(live, proposal(both), guarded())
    assert holds(standing) == {SHOWN: True, "as shown: Slot/13": False}


async def test_changed_and_guarded_are_read_once_each() -> None:
    live = Live(copy(SLOT), copy(OTHER_SLOT))
    note = {**TAKE, "reference": "Slot/13"}
    await seen_by(live, proposal([TAKE, note]), guarded(ACTION.guards[0]))
    assert sorted(live.read_) == ["Slot/12", "Slot/13"]
    assert targets(proposal(BOOKING).content) == ("Slot/12",)


@pytest.mark.parametrize("error", [SourceUnreachable("away"), Throttled("busy")])
async def test_system_that_does_not_answer_is_no_finding(error: Exception) -> None:
    live = Live(copy(SLOT))
    live.error = error
    with pytest.raises(type(error)):
        await seen_by(live, proposal(BOOKING))
    bounded = look_bounded(live.gate(), proposal(BOOKING), ACTION, grounds(), timeout_s=5.0)
    assert await bounded is None


async def test_page_waits_no_longer_than_it_was_told() -> None:
    class Slow(Live):
        async def read(self, reference: str) -> Copy:
            await asyncio.Event().wait()
            raise AssertionError("never")

    slow = look_bounded(Slow().gate(), proposal(BOOKING), ACTION, grounds(), timeout_s=0.01)
    assert await asyncio.wait_for(slow, 5) is None


async def test_page_in_time_has_the_same_standing() -> None:
    live = Live(copy(SLOT))
    bounded = await look_bounded(live.gate(), proposal(BOOKING), ACTION, grounds(), timeout_s=5.0)
    assert bounded == await seen_by(live, proposal(BOOKING))


async def test_error_is_raised_when_all_have_ended() -> None:
    ended: list[str] = []

    async def fails(name: str) -> str:
        raise Throttled(name)

    async def ends() -> str:
        for _ in range(5):  # longer than it takes the others to fail
            await asyncio.sleep(0)
        ended.append("it")
        return "answer"

    with pytest.raises(Throttled, match="first"):
        await together([fails("first"), ends(), fails("second")])
    assert ended == ["it"]
    assert await together([ends(), ends()]) == ["answer", "answer"]


def test_look_that_did_not_come_back_says_so_of_each_guard() -> None:
    names = ("same: Slot.status, Slot.start, Slot.end", NONE)
    expected = [GuardResult(guard=name, holds=None, sentence="away") for name in names]
    assert cannot_tell(ACTION, "away") == tuple(expected)


SCHEDULE: Resource = {"resourceType": "Schedule", "id": "3"}


@pytest.mark.parametrize(
    ("paths", "chosen"),
    [
        (("Slot.status",), ["Slot/12"]),  # the one that is changed, not all that were seen
        (("Slot.status", "Slot.start"), ["Slot/12"]),
        (("Slot.schedule.reference",), ["Slot/12"]),
        (("Schedule.actor",), ["Schedule/3", "Schedule/4"]),  # none is touched: all are meant
        (("Schedule.actor", "Slot.status"), ["Schedule/3", "Schedule/4", "Slot/12"]),
    ],
)
def test_watched_is_what_the_proposal_means(paths: tuple[str, ...], chosen: list[str]) -> None:
    bodies = {**SEEN, "Schedule/3": SCHEDULE, "Schedule/4": {**SCHEDULE, "id": "4"}}
    action = guarded(GuardRule(kind="same", paths=paths), GuardRule(kind="none", paths=("X.y",)))
    content = proposal(BOOKING).content
    assert list(watched(action, content, grounds(bodies))) == chosen


@pytest.mark.parametrize(("count", "fits"), [(WATCHED_MAX, True), (WATCHED_MAX + 1, False)])
def test_watched_is_bounded(count: int, fits: bool) -> None:
    bodies = {f"Schedule/{n}": {**SCHEDULE, "id": str(n)} for n in range(count)}
    action = guarded(GuardRule(kind="same", paths=("Schedule.actor",)))
    content = proposal(BOOKING).content
    if fits:
        assert len(watched(action, content, grounds(bodies))) == WATCHED_MAX
        return
    with pytest.raises(Unprocessable, match=f"{count} resources, more than {WATCHED_MAX}"):
        watched(action, content, grounds(bodies))


@pytest.mark.parametrize(
    ("guard", "sentence"),
    [
        (
            GuardRule(kind="same", paths=("Schedule.actor",)),
            "same: Schedule.actor needs a Schedule",
        ),
        (GuardRule(kind="none", query="Slot?x={Schedule.id}"), "needs Schedule.id"),
    ],
)
def test_guard_whose_ground_was_not_read_is_refused_at_once(
    guard: GuardRule, sentence: str
) -> None:
    content = proposal(BOOKING).content
    with pytest.raises(Unprocessable, match=sentence):
        check_guardable(guarded(guard), content, grounds())
    check_guardable(ACTION, content, grounds())


def test_none_queries_are_filled_from_what_would_be_written_then_from_what_is_near() -> None:
    rule = GuardRule(kind="none", query="Appointment?date={Slot.start}&x={Slot.status}")
    near = {**SEEN, "Slot/13": {**OTHER_SLOT, "start": "2030-01-01T00:00:00Z"}}
    patched = proposal(BOOKING).content
    assert searches_of(guarded(rule), patched, grounds(near)) == [
        (rule, ("Appointment", (("date", START), ("x", "busy"))))
    ]
    created = proposal(BOOKING[:1]).content
    assert searches_of(guarded(rule), created, grounds(near)) == [
        (rule, ("Appointment", (("date", START), ("x", "free"))))
    ]
    assert searches_of(guarded(ACTION.guards[0]), patched, grounds(near)) == []


def test_none_queries_pass_over_what_is_deleted() -> None:
    content = proposal(BOOKING).content
    gone = Change(interaction="delete", resource_type="Slot", reference="Slot/13")
    content = replace(content, changes=(gone, *content.changes))
    ((_, (kind, _)),) = searches_of(guarded(ACTION.guards[1]), content, grounds())
    assert kind == "Appointment"
