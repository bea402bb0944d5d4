"""Fifty writers outside Chartgate change the same charts while it commits: nothing of anybody is lost.

The writers read, change and put back with If-Match, as a careful program at the hospital does; some of
what they change is guarded by the charter, most is not. Sixteen lanes propose and approve, and workers
commit. Afterwards the hospital's journal and versions are gone through:
each version of ours is the one before it with our elements changed and nothing else; each commit
stood on the guarded elements that its client saw, and each conflict on others; nothing twice.

`python -m benchmarks.writers [--count 10000] [--writers 50] [--seed N] [--out FILE]`
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from benchmarks.ward import STAFF, Ward, asking, open_ward, told
from chartgate.clock import utc_now
from chartgate.config import WorkerConfig
from chartgate.errors import ChartgateError, Unavailable
from chartgate.flows import commits, reviews
from chartgate.flows.crews import open_crew
from chartgate.flows.impasses import SAY_CANNOT_TELL
from chartgate.formats.canonical import canonical_bytes
from chartgate.model.proposal import Proposal, Status
from chartgate.store.database import Database
from chartgate.store.interactions import InteractionStore

COUNT = 10_000
WRITERS = 50
LANES = 16
WORKERS = 2
CHARTS = 200
EXAMPLES_MAX = 5
PAUSE_S = (0.5, 2.0)  # of a writer between two changes
LOOK_S = 0.1  # between looks whether there is something to do
PATIENCE_S = 300.0  # for one proposal to come to rest
WATCHED = ("status", "owner", "for", "executionPeriod")  # guarded, or shown as changing
STATUSES = ("requested", "received", "accepted", "in-progress", "on-hold")
TEAMS = ("authorisations", "billing")
FOREIGN = "writer-"
RESTS = (Status.VERIFIED, Status.PENDING_REVIEW, Status.HANDED_OFF)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One proposal of ours, and the version that its client saw."""

    proposal: Proposal
    task: str
    seen: int
    day: int


@dataclass
class Campaign:
    """What is under way, and what came of it."""

    ward: Ward
    chance: random.Random
    wanted: int
    tasks: tuple[str, ...]
    started: int = 0
    entries: list[Entry] = field(default_factory=list)
    put: int = 0  # foreign changes that the hospital took
    put_refused: int = 0
    busy: bool = True

    @property
    def verified(self) -> int:
        """How many commits stand."""
        return sum(e.proposal.status is Status.VERIFIED for e in self.entries)


async def run(
    database: Database,
    folder: Path,
    count: int,
    *,
    seed: int,
    writers: int = WRITERS,
    charts: int = CHARTS,
    worker: WorkerConfig | None = None,
) -> dict[str, Any]:
    """The campaign, on a store that is up to date."""
    started = time.monotonic()
    async with open_ward(database, folder=folder, clock=utc_now, worker=worker) as ward:
        tasks = tuple(ward.task(number) for number in range(charts))
        ward.hospital.journal.clear()
        campaign = Campaign(ward, random.Random(seed), count, tasks)
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
            outside = [group.create_task(_write(campaign, http, n)) for n in range(writers)]
            lanes = [group.create_task(_commit(campaign)) for _ in range(LANES)]
            working = [group.create_task(_work(campaign, f"w{n}")) for n in range(WORKERS)]
            await asyncio.gather(*lanes)
            campaign.busy = False
            await asyncio.gather(*outside, *working)
        return _told(campaign, seed, writers) | {"took_s": round(time.monotonic() - started, 1)}


async def _write(campaign: Campaign, http: aiohttp.ClientSession, number: int) -> None:
    """One writer at the hospital, who knows nothing of Chartgate."""
    base = campaign.ward.hospital.fhir_url
    chance = random.Random(campaign.chance.random())
    while campaign.busy:
        task = chance.choice(campaign.tasks)
        async with http.get(f"{base}/{task}") as response:
            held, etag = orjson.loads(await response.read()), response.headers["ETag"]
        await asyncio.sleep(chance.uniform(0, 0.02))  # as long as it takes to think
        body = orjson.dumps(_changed(held, chance, f"{number}-{campaign.put}"))
        headers = {
            "Content-Type": "application/fhir+json",
            "If-Match": etag,
            "X-Request-Id": f"{FOREIGN}{number}",
        }
        async with http.put(f"{base}/{task}", data=body, headers=headers) as response:
            campaign.put += response.status == 200
            campaign.put_refused += response.status == 412
            assert response.status in (200, 412), f"the hospital answered {response.status}"
        await asyncio.sleep(chance.uniform(*PAUSE_S))


def _changed(held: dict[str, Any], chance: random.Random, token: str) -> dict[str, Any]:
    """Mostly what no guard looks at; now and then what one does."""
    share = chance.random()
    if share < 0.7:
        return {**held, "description": f"seen by {token}"}
    if share < 0.85:
        return {**held, "status": chance.choice([s for s in STATUSES if s != held["status"]])}
    team = chance.choice(TEAMS)
    return {**held, "owner": {"reference": f"Organization/{team}"}, "description": f"by {token}"}


async def _commit(campaign: Campaign) -> None:
    """One lane: proposes, approves and works until enough commits stand."""
    while campaign.verified < campaign.wanted and campaign.started < campaign.wanted * 5:
        campaign.started += 1
        day = campaign.started
        task = campaign.chance.choice(campaign.tasks)
        now = campaign.ward.hospital.resource(task)["status"]
        status = campaign.chance.choice([s for s in STATUSES if s != now])
        try:
            proposal = await campaign.ward.move_task(task, status, day=day)
            await campaign.ward.approve(proposal)
        except ChartgateError as error:
            raise AssertionError(f"a proposal could not be made: {error}") from error
        rested = await _rest(campaign.ward, proposal)
        seen = await InteractionStore(campaign.ward.gate.database).read_set(proposal.interaction)
        entry = Entry(proposal=rested, task=task, seen=int(seen[-1].version), day=day)
        campaign.entries.append(entry)
        if rested.status is Status.PENDING_REVIEW:
            await reviews.review(
                campaign.ward.gate,
                STAFF,
                proposal.id,
                verdict="refuse",
                digest=rested.content.digest,
                reason="the campaign takes no conflict up again",
            )


async def _rest(ward: Ward, proposal: Proposal) -> Proposal:
    deadline = time.monotonic() + PATIENCE_S
    while (found := await ward.get(proposal)).status not in RESTS:
        assert time.monotonic() < deadline, f"it does not come to rest: {found.status.value}"
        await asyncio.sleep(LOOK_S)
    return found


async def _work(campaign: Campaign, name: str) -> None:
    """A worker, for whatever is approved."""
    gate = campaign.ward.gate
    async with (
        open_crew(gate, commits.COMMITS, name) as committing,
        open_crew(gate, commits.VERIFICATIONS, name) as verifying,
    ):
        while campaign.busy:
            try:
                did = await committing.start_due() + await verifying.start_due()
            except Unavailable:
                did = 0  # the store is slow; a worker looks again
            if not did:
                await asyncio.sleep(LOOK_S)


def _told(campaign: Campaign, seed: int, writers: int) -> dict[str, Any]:
    """Holds what Chartgate says against the hospital's own journal and versions."""
    lost = _lost_updates(campaign)
    wrong = [problem for entry in campaign.entries for problem in _wrong(campaign, entry)]
    foreign = [e for e in campaign.ward.hospital.journal.effects if _is_foreign(e.request_id)]
    if len(foreign) != campaign.put:
        lost.append(f"{campaign.put} foreign changes were taken, {len(foreign)} are there")
    ends = Counter(entry.proposal.status.value for entry in campaign.entries)
    handed = [e.proposal for e in campaign.entries if e.proposal.status is Status.HANDED_OFF]
    problems = lost + wrong
    return {
        "seed": seed,
        "writers": writers,
        "commits": campaign.verified,
        "conflicts": ends["pending-review"],
        "handed_off": dict(Counter(map(_why, handed))),
        "foreign_changes": campaign.put,
        "foreign_changes_refused": campaign.put_refused,
        "lost_updates": len(lost),
        "wrong_verdicts": len(wrong),
        "examples": problems[:EXAMPLES_MAX],
        "bound_lost_95": 3 / max(1, campaign.verified),
        "held": bool(campaign.put) and campaign.verified >= campaign.wanted and not problems,
    }


def _versions(ward: Ward, task: str) -> dict[int, Mapping[str, Any]]:
    return {v.number: v.resource or {} for v in ward.hospital.chart.history(task)}


def _lost_updates(campaign: Campaign) -> list[str]:
    """Each version of ours is the one before it, with our elements changed and nothing else."""
    ward = campaign.ward
    days = {_end_of(entry): entry for entry in campaign.entries}
    problems, made = [], Counter[int]()
    for effect in ward.hospital.journal.effects:
        if _is_foreign(effect.request_id) or effect.reference not in campaign.tasks:
            continue
        versions = _versions(ward, effect.reference)
        now, before = versions[effect.version], versions[effect.version - 1]
        entry = days.get(now["executionPeriod"]["end"])
        where = f"{effect.reference} version {effect.version}"
        if entry is None:
            problems.append(f"{where}: nobody proposed it")
            continue
        made[entry.day] += 1
        ours = {k: now[k] for k in ("status", "executionPeriod")}
        if canonical_bytes(_bare(now)) != canonical_bytes(_bare({**before, **ours})):
            problems.append(f"{where}: more than our elements differ from the one before")
    for entry in campaign.entries:
        expected = int(entry.proposal.status is Status.VERIFIED)
        if made[entry.day] != expected:
            problems.append(f"{entry.task}: written {made[entry.day]} times, not {expected}")
    return problems


def _wrong(campaign: Campaign, entry: Entry) -> list[str]:
    """Whether a commit stood on what was seen, and a conflict on something else."""
    versions = _versions(campaign.ward, entry.task)
    seen = _watched(versions[entry.seen])
    proposal = entry.proposal
    if proposal.status is Status.VERIFIED:
        assert proposal.receipt is not None
        base = int(proposal.receipt.effects[0].version_before or 0)
        right = base >= entry.seen and _watched(versions[base]) == seen
        return [] if right else [f"{entry.task}: committed on guarded elements that changed"]
    if proposal.reason == commits.SAY_KEEPS_CHANGING:
        return []  # a definite refusal, each time by the precondition itself
    later = [_watched(held) for number, held in versions.items() if number > entry.seen]
    right = any(held != seen for held in later)
    return [] if right else [f"{entry.task}: a conflict, and nothing that is watched changed"]


def _why(proposal: Proposal) -> str:
    """Why staff have it, in a word or two."""
    if proposal.reason == commits.SAY_KEEPS_CHANGING:
        return "kept changing"
    return "cannot tell" if proposal.reason == SAY_CANNOT_TELL else "conflict"


def _watched(held: Mapping[str, Any]) -> bytes:
    return canonical_bytes({name: held.get(name) for name in WATCHED})


def _bare(held: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in held.items() if k != "meta"}


def _end_of(entry: Entry) -> str:
    operations = entry.proposal.content.changes[0].patch
    return str(operations[1]["value"]["end"])


def _is_foreign(request_id: str) -> bool:
    return request_id.startswith(FOREIGN)


def main() -> None:
    """Runs the campaign; exit code 1 if anything was lost, doubled or judged wrongly."""
    parser = asking(__doc__, count=COUNT)
    parser.add_argument("--writers", type=int, default=WRITERS)
    options = parser.parse_args()
    told(run, options, writers=options.writers)


if __name__ == "__main__":
    main()
