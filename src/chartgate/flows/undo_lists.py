"""What a client, a charter or a stage wrote within some time, and what a rollback could make of it.

The newest comes first, as it would be taken back: each is looked at as if those before it in the
list were undone already, so that changes that stand on one another go together.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from chartgate.errors import (
    ConfigError,
    Denied,
    Invalid,
    SourceRefused,
    SourceUnreachable,
    Throttled,
)
from chartgate.flows.audit_search import parse_time
from chartgate.flows.contexts import in_context
from chartgate.flows.decided import note
from chartgate.flows.guards import together
from chartgate.flows.permits import SAY_PERSON, relationship_on, request_on
from chartgate.flows.regress import SAY_WENT_BACK
from chartgate.flows.undo_ground import Ground, ground_on, read_live, undone_references
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.gate import Gate
from chartgate.model.charter import STAGES
from chartgate.model.decision import Decision
from chartgate.model.principal import CLIENT_PREFIX, Person, Principal, Process
from chartgate.model.proposal import Proposal, Status, proposal_json
from chartgate.model.resource import Copy
from chartgate.policy.decide import decide
from chartgate.policy.undo_order import Landed, newest_first
from chartgate.store.written import Written, WrittenStore

SELECTING = ("client", "charter", "stage", "since", "until")  # by which writes are selected
BULK_MAX = 1_000  # writes taken back in one go; the same again takes the next ones
LOOKS_AT_ONCE = 8  # reads of one list that are under way together
CLIENT = re.compile(r"[A-Za-z0-9._\-]{1,64}")
# What keeps a chart from being looked at now; a connection may be configured no more.
NOT_SEEN = (SourceUnreachable, SourceRefused, Throttled, ConfigError)
EVER = datetime(1970, 1, 1, tzinfo=UTC)

SAY_UNDO = "stands as it was written"
SAY_MOVED_ON = "the chart moved on: {} changed after it was written"
SAY_CANNOT_SEE = "the system of record did not answer; look again"
SAY_STAFF = "staff have it in their worklist, because it did not go as it should"
SAY_UNDER_WAY = "it is being taken back already"
SAY_UNVERIFIED = "it was written a moment ago and is not read back yet; look again"
Verdict = Literal["undo", "cannot"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Whose writes, and of when. At least one of them must be said."""

    client: str | None = None  # its id, e.g. "slot-picker"
    charter: str | None = None
    stage: str | None = None  # at which it was proposed
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One write, and what would become of it."""

    proposal: Proposal
    written_at: datetime
    verdict: Verdict
    why: str  # a sentence without patient data


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would happen, in the order in which it would."""

    items: tuple[Item, ...]
    under_way: int  # approved or being written now: not in the list, and may be written yet
    complete: bool  # False: there is more than one go takes
    digest: str  # of what the list is about; asking for it names it

    def count(self, verdict: Verdict) -> int:
        """How many."""
        return sum(item.verdict == verdict for item in self.items)


def selection_of(said: Mapping[str, str], *, now: datetime) -> Selection:
    """From texts: client, charter, stage, and since and until as `parse_time` takes them; what is
    empty is not said. Raises Invalid."""
    texts = {name: said.get(name) or None for name in SELECTING}
    since, until = (parse_time(t, now=now) if (t := texts[n]) else None for n in SELECTING[3:])
    client, charter, stage = (texts[n] for n in SELECTING[:3])
    return Selection(client=client, charter=charter, stage=stage, since=since, until=until)


def plan_json(made: Plan) -> dict[str, Any]:
    """RollbackList of openapi.yaml."""
    return {
        "list": made.digest,
        "undo": made.count("undo"),
        "cannot": made.count("cannot"),
        "under_way": made.under_way,
        "complete": made.complete,
        "items": [
            {
                "proposal": proposal_json(item.proposal),
                "written_at": item.written_at.isoformat(),
                "verdict": item.verdict,
                "why": item.why,
            }
            for item in made.items
        ],
    }


async def list_writes(
    gate: Gate, who: Principal, selection: Selection
) -> tuple[Plan, list[Decision]]:
    """The list, and each no of the policy to what a chart would permit. Raises Denied, Invalid."""
    _check(gate, who, selection)
    author = f"{CLIENT_PREFIX}{selection.client}" if selection.client else None
    store, now = WrittenStore(gate.database), gate.clock()
    narrow = {"author": author, "charter": selection.charter, "stage": selection.stage}
    found = await store.within(
        **narrow,
        since=selection.since or EVER,
        until=selection.until or now + timedelta(days=1),
        limit=BULK_MAX + 1,
    )
    seen = [w for w in found[:BULK_MAX] if await _may_see(gate, who, w.proposal)]
    ordered = _ordered(seen)
    looked = await _looked_at(gate, ordered)
    items, denied = [], []
    for written, (verdict, why) in zip(ordered, looked, strict=True):
        if verdict == "undo" and isinstance(who, Person):
            decision = await rollback_decision(gate, who, written.proposal)
            if not decision.permitted:
                denied.append(decision)
                verdict, why = "cannot", decision.sentence
        items.append(
            Item(proposal=written.proposal, written_at=written.ended_at, verdict=verdict, why=why)
        )
    made = Plan(
        items=tuple(items),
        under_way=await store.under_way(**narrow),
        complete=len(found) <= BULK_MAX,
        digest=_digest(ordered),
    )
    return made, denied


def _check(gate: Gate, who: Principal, selection: Selection) -> None:
    if not isinstance(who, Person | Process):
        raise Denied(SAY_PERSON)
    said = (selection.client, selection.charter, selection.stage, selection.since)
    if not any(said):
        raise Invalid("say whose writes: a client, a charter, a stage, or since when")
    if selection.client and not CLIENT.fullmatch(selection.client):
        raise Invalid("the client is named as in its charter, e.g. slot-picker")
    if selection.charter:
        gate.charters.get(selection.charter)
    if selection.stage and selection.stage not in STAGES:
        raise Invalid(f"there is no stage {selection.stage}; there are {', '.join(STAGES)}")
    if selection.since and selection.until and selection.since >= selection.until:
        raise Invalid("the time to begin with must lie before the time to end with")


async def _may_see(gate: Gate, who: Principal, proposal: Proposal) -> bool:
    """What a person may not be shown is as if it were not there."""
    may = decide(gate.charters, request_on(proposal, who, "show")).permitted
    return may and in_context(who, proposal)


async def rollback_decision(gate: Gate, person: Person, proposal: Proposal) -> Decision:
    """Whether this person may take it back, as for one alone."""
    related = await relationship_on(gate, proposal, person)
    request = request_on(proposal, person, "rollback", relationship=related)
    return note(decide(gate.charters, request))


def _ordered(found: Sequence[Written]) -> list[Written]:
    by_id = {written.proposal.id: written for written in found}
    landed = [
        Landed(
            id=w.proposal.id,
            started_at=w.started_at,
            effects=w.proposal.receipt.effects if w.proposal.receipt else (),
        )
        for w in found
    ]
    return [by_id[id_] for id_ in newest_first(landed)]


def _digest(ordered: Sequence[Written]) -> str:
    """Of what can be undone by its state, whatever the charts say: they are asked again anyway."""
    ids = sorted(w.proposal.id for w in ordered if w.proposal.status is Status.VERIFIED)
    return digest(canonical_bytes(ids)).hex()


async def _looked_at(gate: Gate, ordered: Sequence[Written]) -> list[tuple[Verdict, str]]:
    """A verdict each, as if those before it in the order had been taken back already."""
    proposals = [w.proposal for w in ordered if w.proposal.status is Status.VERIFIED]
    live = await _read_all(gate, proposals)
    assumed: dict[str, dict[str, str]] = {}
    verdicts: list[tuple[Verdict, str]] = []
    for written in ordered:
        proposal = written.proposal
        if proposal.status is not Status.VERIFIED:
            verdicts.append(("cannot", _why_not_verified(proposal.status)))
            continue
        here = assumed.setdefault(proposal.connection, {})
        ground = await _ground(gate, proposal, live, here)
        if ground is None or (ground.write is None and not ground.waits):
            verdicts.append(("cannot", _why_not(ground)))
            continue
        verdicts.append(("undo", SAY_UNDO))
        assert proposal.receipt is not None, "verified without a receipt"
        for effect in proposal.receipt.effects:
            if effect.version_before is not None:
                here[effect.reference] = effect.version_before
    return verdicts


async def _read_all(
    gate: Gate, proposals: Sequence[Proposal]
) -> dict[tuple[str, str], Copy | None]:
    """Each resource once; without those that could not be read."""
    wanted = dict.fromkeys((p.connection, r) for p in proposals for r in undone_references(p))
    slots = asyncio.Semaphore(LOOKS_AT_ONCE)
    live: dict[tuple[str, str], Copy | None] = {}

    async def read(connection: str, reference: str) -> None:
        async with slots:
            try:
                live[connection, reference] = await read_live(gate.source(connection), reference)
            except NOT_SEEN:
                return

    await together([read(connection, reference) for connection, reference in wanted])
    return live


async def _ground(
    gate: Gate,
    proposal: Proposal,
    live: Mapping[tuple[str, str], Copy | None],
    assumed: Mapping[str, str],
) -> Ground | None:
    """None: it cannot be looked up now."""
    references = undone_references(proposal)
    if not all((proposal.connection, r) in live for r in references):
        return None
    copies = {r: live[proposal.connection, r] for r in references}
    mine = {r: v for r, v in assumed.items() if r in copies}
    try:
        return await ground_on(gate, proposal, copies, assumed=mine)
    except NOT_SEEN:
        return None


def _why_not(ground: Ground | None) -> str:
    if ground is None:
        return SAY_CANNOT_SEE
    if ground.went_back:
        return SAY_WENT_BACK
    return SAY_MOVED_ON.format(", ".join(ground.moved_on))


def _why_not_verified(status: Status) -> str:
    if status is Status.ROLLING_BACK:
        return SAY_UNDER_WAY
    return SAY_UNVERIFIED if status is Status.COMMITTED else SAY_STAFF
