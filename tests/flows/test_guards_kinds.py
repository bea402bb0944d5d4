"""Searches that find some or so many, feeds, states: looked at live, the tightest last."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chartgate.errors import NotFound, Unprocessable
from chartgate.flows.grounds import Grounds
from chartgate.flows.guards import check_guardable, look, moved_elsewhere
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.gate import Gate
from chartgate.model.charter import ActionRule, GuardRule
from chartgate.model.interaction import Seen
from chartgate.model.proposal import Proposal
from chartgate.model.resource import Copy, Resource, SearchPage
from chartgate.policy.action_parts import STATES
from chartgate.policy.content import parse_changes
from chartgate.policy.differences import content_of
from tests.policy.test_decide import BOOK

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
ACTION = BOOK.get("clinic-booking").proposes["book"]
SLOT: Resource = {"resourceType": "Slot", "id": "12", "status": "free"}
SEEN: dict[str, Resource] = {"Slot/12": SLOT}
TAKE: dict[str, Any] = {
    "interaction": "patch", "reference": "Slot/12", "ifMatch": "3",
    "patch": [{"op": "replace", "path": "/status", "value": "busy"}],
}  # fmt: skip
NOTE: dict[str, Any] = {
    "interaction": "create",
    "resource": {
        "resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {}}],
        "subject": {"reference": "Patient/7"},
        "context": {"encounter": [{"reference": "Encounter/5"}]},
    },
}  # fmt: skip
QUERY = "Slot?status=free"


def copy(body: Resource, version: str = "3") -> Copy:
    reference, raw = f"{body['resourceType']}/{body['id']}", canonical_bytes(body)
    return Copy(reference=reference, version=version, digest=digest(raw), body=raw, as_of=NOW)


class Live:
    """A system of record, and a feed that was last heard `silent_s` ago."""

    def __init__(
        self, *bodies: Resource, found: int = 0, more: bool = False, silent_s: float | None = None
    ) -> None:
        self.copies = {c.reference: c for c in map(copy, bodies)}
        self.page = SearchPage(
            copies=tuple(copy({**SLOT, "id": f"f{n}"}) for n in range(found)),
            complete=not more,
            as_of=NOW,
        )
        self.heard = None if silent_s is None else NOW - timedelta(seconds=silent_s)
        self.asked: list[str] = []

    async def read(self, reference: str) -> Copy:
        self.asked.append(f"read {reference}")
        if reference not in self.copies:
            raise NotFound(reference)
        return self.copies[reference]

    async def search(self, resource_type: str, criteria: Any, *, count_max: int) -> SearchPage:
        await asyncio.sleep(0)
        self.asked.append(f"search {resource_type}")
        return self.page

    async def fetch_value(self, sql: str, *parameters: Any) -> datetime | None:
        await asyncio.sleep(0)
        self.asked.append(f"feed {parameters[0]}")
        return self.heard

    def gate(self) -> Gate:
        sources = {"ehr": self}
        found = SimpleNamespace(source=sources.__getitem__, database=self, clock=lambda: NOW)
        return cast(Gate, found)


def proposed(*raw: dict[str, Any], before: dict[str, Resource] = SEEN) -> Proposal:
    content = content_of(parse_changes(list(raw)), before, version=1)
    return cast(Proposal, SimpleNamespace(connection="ehr", content=content))


def guarded(*guards: GuardRule) -> ActionRule:
    return replace(ACTION, guards=guards)


def grounds(bodies: dict[str, Resource] = SEEN) -> Grounds:
    return Grounds(seen={}, bodies=bodies)


async def holds(live: Live, *guards: GuardRule, of: Sequence[dict[str, Any]] = (TAKE,)) -> bool:
    standing = await look(live.gate(), proposed(*of), guarded(*guards), grounds())
    own = [r for r in standing.results if not r.guard.startswith("as shown")]
    assert own
    assert all(r.sentence for r in own)
    return all(r.holds is True for r in own)


@pytest.mark.parametrize(
    ("rule", "found", "more", "expected"),
    [
        (GuardRule(kind="none", query=QUERY), 0, False, True),
        (GuardRule(kind="none", query=QUERY), 1, False, False),
        (GuardRule(kind="none", query=QUERY), 0, True, False),  # what nobody read may be one
        (GuardRule(kind="some", query=QUERY), 0, False, False),
        (GuardRule(kind="some", query=QUERY), 1, True, True),
        (GuardRule(kind="count", query=QUERY, found_min=2), 1, False, False),
        (GuardRule(kind="count", query=QUERY, found_min=2), 2, True, True),
        (GuardRule(kind="count", query=QUERY, found_max=1), 1, False, True),
        (GuardRule(kind="count", query=QUERY, found_max=1), 2, False, False),
        (GuardRule(kind="count", query=QUERY, found_max=1), 1, True, False),
        (GuardRule(kind="count", query=QUERY, found_min=2, found_max=2), 2, False, True),
        (GuardRule(kind="count", query=QUERY, found_min=2, found_max=2), 3, False, False),
        (GuardRule(kind="count", query=QUERY, found_max=0), 0, False, True),
    ],
)
async def test_search_finds_as_many_as_it_must(
    rule: GuardRule, found: int, more: bool, expected: bool
) -> None:
    assert await holds(Live(SLOT, found=found, more=more), rule) is expected


@pytest.mark.parametrize(
    ("silent_s", "expected"), [(None, False), (0, True), (60, True), (60.5, False), (-5, True)]
)
async def test_feed_is_not_silent_for_longer(silent_s: float | None, expected: bool) -> None:
    rule = GuardRule(kind="fresh", feed="adt", within_s=60)
    live = Live(SLOT, silent_s=silent_s)
    assert await holds(live, rule) is expected
    assert "feed adt" in live.asked


PATIENT: Resource = {"resourceType": "Patient", "id": "7"}
OTHER: Resource = {"reference": "Patient/8"}


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("encounter-open", {"resourceType": "Encounter", "id": "5", "status": "in-progress"}, True),
        ("encounter-open", {"resourceType": "Encounter", "id": "5", "status": "finished"}, False),
        ("encounter-open", {"resourceType": "Encounter", "id": "5"}, False),
        ("encounter-open", PATIENT, False),  # the encounter is gone
        ("patient-usable", PATIENT, True),
        ("patient-usable", {**PATIENT, "active": True, "deceasedBoolean": False}, True),
        ("patient-usable", {**PATIENT, "link": [{"type": "seealso", "other": OTHER}]}, True),
        ("patient-usable", {**PATIENT, "active": False}, False),
        ("patient-usable", {**PATIENT, "deceasedBoolean": True}, False),
        ("patient-usable", {**PATIENT, "deceasedDateTime": "2026-01-01"}, False),
        ("patient-usable", {**PATIENT, "link": [{"type": "replaced-by", "other": OTHER}]}, False),
        (
            "patient-usable",
            {**PATIENT, "link": [{"type": "seealso"}, {"type": "replaced-by"}]},
            False,
        ),
    ],
)
async def test_state_is_that_of_what_the_proposal_refers_to(
    name: str, body: Resource, expected: bool
) -> None:
    assert await holds(Live(body), *STATES[name], of=[NOTE]) is expected


async def test_state_is_that_of_what_the_proposal_writes() -> None:
    rule = GuardRule(kind="state", paths=("Slot.status",), allowed=("free",))
    assert await holds(Live(SLOT), rule)
    assert not await holds(Live({**SLOT, "status": "busy"}), rule)


def test_state_of_what_the_proposal_does_not_refer_to_guards_nothing_and_is_refused() -> None:
    action = guarded(*STATES["encounter-open"])
    check_guardable(action, proposed(NOTE).content, grounds())
    with pytest.raises(Unprocessable, match=r"needs a Encounter that the proposal refers to"):
        check_guardable(action, proposed(TAKE).content, grounds())


async def test_reads_that_no_precondition_covers_come_after_searches_and_feeds() -> None:
    """What is written rides in the write, so that it need not wait."""
    live = Live(SLOT, {"resourceType": "Encounter", "id": "5", "status": "arrived"}, silent_s=1)
    both = [TAKE, NOTE]
    assert await holds(
        live,
        GuardRule(kind="fresh", feed="adt", within_s=60),
        GuardRule(kind="none", query="Appointment?status=booked"),
        *STATES["encounter-open"],
        of=both,
    )
    assert live.asked[-1] == "read Encounter/5"
    assert sorted(live.asked[:-1]) == ["feed adt", "read Slot/12", "search Appointment"]


async def test_without_searches_everything_is_read_at_once() -> None:
    live = Live(SLOT, {"resourceType": "Encounter", "id": "5", "status": "arrived"})
    assert await holds(live, *STATES["encounter-open"], of=[TAKE, NOTE])
    assert live.asked == ["read Slot/12", "read Encounter/5"]


async def test_change_where_no_guard_looks_is_noted_and_breaks_nothing() -> None:
    then = copy(SLOT)
    seen = Seen(reference="Slot/12", version="3", digest=then.digest, as_of=NOW)
    stood = Grounds(seen={"Slot/12": seen}, bodies=SEEN)
    rule = GuardRule(kind="same", paths=("Slot.status",))
    for body, elsewhere in ((SLOT, ()), ({**SLOT, "comment": "x"}, ("Slot/12",))):
        standing = await look(Live(body).gate(), proposed(TAKE), guarded(rule), stood)
        assert standing.broken == ()
        assert moved_elsewhere(stood, standing) == elsewhere
