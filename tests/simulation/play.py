"""One play: a seed, a hundred operations in bad weather, then calm, rest, and the count."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chartgate.errors import ChartgateError
from chartgate.failpoints import POINTS, arm, disarm
from chartgate.flows import (
    commits,
    deadlines,
    halts,
    handoffs,
    proposals,
    reads,
    reviews,
    rollbacks,
)
from chartgate.flows.proposals import Submission
from chartgate.model.principal import Person
from chartgate.model.proposal import Proposal, Status
from chartgate.model.write import change_json
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import ProposalStore
from tests.flows.clinics import (
    CLERK,
    NORA,
    OPERATOR,
    OSEI,
    PICKER,
    SCRIBE,
    SITE,
    SOFIA,
    booking_changes,
)
from tests.simulation.checker import REST, Checker
from tests.simulation.network import WRITE_FAULTS
from tests.simulation.store import VICTIM, SimPool, Stop
from tests.simulation.world import SLOTS, Killed, World, die, later, seeded_ids

STEPS = 100
CALM_ROUNDS = 60
DEATHS = tuple(name for name in POINTS if not name.startswith(("c16", "c17")))
JUMPS_S = (0.5, 1, 3, 10, 31, 61, 200, -2, -40)
PLACES = ("read", "change", "send", "sent")
REVIEWERS = {"clinic-booking": SOFIA, "visit-note": OSEI, "prior-authorisation": NORA}
NOTED_IN = {"Slot": "comment", "Appointment": "comment"}  # elsewhere: description
AUTHORS = {"clinic-booking": PICKER, "visit-note": SCRIBE, "prior-authorisation": CLERK}
NOTE = "Tm90ZQ=="
IN_STATUS = """SELECT id::text FROM proposal WHERE tenant = $1 AND status = ANY ($2) ORDER BY id"""


@dataclass
class Outcome:
    """What came of one seed."""

    seed: int
    broken: list[str]
    trace: list[str] = field(repr=False)
    operations: int = 0
    states: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    writes: int = 0


class Play:
    """The dice, and everything that may happen."""

    def __init__(
        self, world: World, *, steps: int = STEPS, favour: Mapping[str, int] | None = None
    ) -> None:
        """`favour` gives operations another weight, by name."""
        self.world = world
        self.steps = steps
        self.dice = random.Random(world.seed)
        self.checker = Checker(world)
        self.ids: list[str] = []
        self.edits = 0
        self.trace: list[str] = []
        world.session.on_write = self.checker.at_send
        self.operations: dict[Callable[[], Awaitable[object]], int] = {
            self.submit: 12,
            self.decide: 14,
            self.work: 26,
            self.roll_back: 6,
            self.foreign_edit: 6,
            self.time_passes: 9,
            self.weather: 7,
            self.late_arrival: 4,
            self.halt_or_resume: 2,
            self.shadow_or_back: 1,
            self.die_somewhere: 7,
            self.restart: 1,
            self.zombie: 9,
            self.lose_store: 3,
            self.edit: 2,
            self.withdraw: 1,
            self.last_moment: 2,
            self.staff: 2,
        }
        for verb in self.operations:
            self.operations[verb] = (favour or {}).get(verb.__name__, self.operations[verb])
        self.inner = (self.time_passes, self.work, self.decide, self.foreign_edit,
                      self.halt_or_resume, self.late_arrival, self.edit, self.roll_back)  # fmt: skip

    @property
    def gate(self) -> Any:
        return self.world.gate

    async def run(self) -> Outcome:
        """The whole play."""
        await self.world.open()
        try:
            verbs, weights = list(self.operations), list(self.operations.values())
            for _ in range(self.steps):
                await self.step(self.dice.choices(verbs, weights)[0])
            await self.calm()
            await self.checker.at_rest()
            await self.again()
            return await self.outcome()
        finally:
            await self.world.close()

    async def step(self, verb: Callable[[], Awaitable[object]]) -> None:
        """One operation; a refusal is an answer, and a death is followed by a new start."""
        said = "done"
        try:
            found = await verb()
            said = str(found) if isinstance(found, (str, bool)) else said
        except ChartgateError as error:
            said = type(error).__name__
        except Killed:
            said = "killed"
            await self.world.restart()
        log, self.world.session.log = sorted(self.world.session.log), []
        self.trace.append(f"{self.world.clock():%H:%M:%S.%f} {verb.__name__} {said} {log}")

    async def outcome(self) -> Outcome:
        """Counts, and the whole trace."""
        found = await ProposalStore(self.gate.database).listed(limit=500)
        states: dict[str, int] = {}
        for proposal in sorted(found, key=lambda p: p.id):
            states[proposal.status.value] = states.get(proposal.status.value, 0) + 1
            self.trace.append(f"{proposal.id} {proposal.status.value} {proposal.reason}")
        return Outcome(
            seed=self.world.seed,
            broken=self.checker.broken,
            trace=self.trace,
            operations=self.steps,
            states=states,
            restarts=self.world.restarts,
            writes=len(self.world.session.sent),
        )

    async def one(self, *statuses: Status) -> Proposal:
        """A proposal, rather one in these statuses; now and then any."""
        if not self.ids:
            await self.submit()
        wanted = [s.value for s in statuses] if self.dice.random() < 0.9 else []
        rows = await self.gate.database.fetch(IN_STATUS, wanted)
        chosen = self.dice.choice([row["id"] for row in rows] or sorted(self.ids))
        return await ProposalStore(self.gate.database).get(chosen)

    async def submit(self) -> str:
        """A booking, a note or an update of a task; some with low confidence, some twice."""
        make = self.dice.choices((self.booking, self.note, self.task), (4, 2, 3))[0]
        key = f"key-{self.dice.randrange(40)}" if self.dice.random() < 0.2 else None
        proposal = await self.submitted(
            make(), confidence=self.dice.choice([0.3, 0.9, 0.9, 0.9, 0.9]), key=key
        )
        return proposal.status.value

    async def submitted(
        self, made: Any, *, confidence: float = 0.9, key: str | None = None
    ) -> Proposal:
        """What a client proposes after it read what it is about."""
        client, action, references, changes = made
        interaction: str | None = None
        for reference in references:
            kind, _, id_ = reference.partition("/")
            answer = await reads.read(
                self.gate, client, SITE, kind, id_, interaction=interaction, if_none_match=None
            )
            interaction = answer.interaction
        assert interaction is not None
        submission = Submission(
            site=SITE,
            action=action,
            changes=changes,
            confidence=confidence,
            rationale="because",
            interaction=interaction,
            idempotency_key=key,
        )
        proposal = await proposals.submit(self.gate, client, submission)
        if proposal.id not in self.ids:
            self.ids.append(proposal.id)
        return proposal

    def booking(self) -> Any:
        """Books a slot: one transaction, of a create and a patch."""
        story = self.world.scenario
        slot = self.dice.choice(story.free_slots[:SLOTS])
        changes = booking_changes(
            self.world.resource(slot), story.booking_patient, story.practitioner
        )
        return PICKER, "book", (story.booking_patient, slot, story.schedule), changes

    def note(self) -> Any:
        """Files a note: a create alone."""
        story = self.world.scenario
        note = {
            "resourceType": "DocumentReference",
            "status": "current",
            "docStatus": "preliminary",
            "subject": {"reference": story.visit_patient},
            "context": {"encounter": [{"reference": story.visit}]},
            "content": [{"attachment": {"contentType": "text/plain", "data": NOTE}}],
        }
        changes = [{"interaction": "create", "resource": note}]
        return SCRIBE, "file-note", (story.visit,), changes

    def task(self) -> Any:
        """Moves a task on: a patch alone, which bears no mark."""
        story = self.world.scenario
        status = self.dice.choice(["accepted", "in-progress", "on-hold", "completed"])
        patch = [{"op": "replace", "path": "/status", "value": status}]
        changes = [{"interaction": "patch", "reference": story.authorisation, "patch": patch}]
        return CLERK, "update-status", (story.authorisation,), changes

    async def decide(self) -> str:
        """Somebody approves, mostly; sometimes refuses, or hands back."""
        chosen = await self.one(Status.PENDING_REVIEW)
        verdict = self.dice.choices(("approve", "refuse", "hand-back"), (12, 1, 1))[0]
        done = await self.reviewed(chosen, verdict)
        return done.status.value

    async def reviewed(self, chosen: Proposal, verdict: Any) -> Proposal:
        return await reviews.review(
            self.gate,
            REVIEWERS[chosen.charter],
            chosen.id,
            verdict=verdict,
            digest=chosen.content.digest,
            reason="so",
        )

    def reviewer(self, proposal: Proposal) -> Person:
        """Who decides on it."""
        return REVIEWERS[proposal.charter]

    async def edit(self) -> None:
        """A reviewer changes what is proposed."""
        chosen = await self.one(Status.PENDING_REVIEW)
        first, *rest = (change_json(c) for c in chosen.content.changes)
        if first.get("resource"):
            element = NOTED_IN.get(first["resource"]["resourceType"], "description")
            first["resource"] = {**first["resource"], element: f"edit {self.dice.random()}"}
        await reviews.edit(
            self.gate,
            REVIEWERS[chosen.charter],
            chosen.id,
            changes_raw=[first, *rest],
            digest=chosen.content.digest,
        )

    async def withdraw(self) -> None:
        """Its author takes it back."""
        chosen = await self.one(Status.PENDING_REVIEW)
        await proposals.withdraw(self.gate, AUTHORS[chosen.charter], chosen.id)

    async def roll_back(self) -> None:
        """Somebody wants it undone."""
        chosen = await self.one(Status.VERIFIED)
        person = REVIEWERS[chosen.charter]
        await rollbacks.request_rollback(self.gate, person, chosen.id, reason="wrong")

    async def work(self) -> bool:
        """One turn of a worker."""
        worker = f"w{self.dice.randrange(3)}"
        if self.dice.random() < 0.4:
            later(self.world.clock, self.dice.choice([1, 2, 5]))
        turns = [
            commits.commit_next,
            commits.verify_next,
            rollbacks.rollback_next,
            deadlines.expire_next,
        ]
        did = False
        for turn in turns[: 1 + self.dice.randrange(4)]:
            did = await turn(self.gate, worker) or did
        return did

    async def foreign_edit(self) -> str:
        """Somebody at the hospital changes what we work on, perhaps what we wrote."""
        story = self.world.scenario
        made = [e.reference for s in self.world.session.sent for e in s.effects]
        reference = self.dice.choice([*story.free_slots[:SLOTS], story.authorisation, *made[-6:]])
        version = self.world.app.chart.current[reference]
        if version.resource is None:
            return "deleted"
        resource = dict(version.resource)
        if resource["resourceType"] == "Slot" and self.dice.random() < 0.6:
            resource["status"] = self.dice.choice(["free", "busy"])
        if resource["resourceType"] == "Task" and self.dice.random() < 0.4:
            resource["status"] = "requested"
        # Never just what we would have written: no history could tell the two apart.
        self.edits += 1
        resource[NOTED_IN.get(resource["resourceType"], "description")] = f"desk {self.edits}"
        self.world.app.control.edit(resource)
        return reference

    async def time_passes(self) -> str:
        """Forwards mostly; clocks are also set back."""
        seconds = self.dice.choice(JUMPS_S)
        later(self.world.clock, seconds)
        return str(seconds)

    async def weather(self) -> str:
        """The network turns worse or better; the hospital's replicas may lag."""
        session = self.world.session
        session.weather.writes = self.dice.choice([0.0, 0.2, 0.5, 0.9])
        session.weather.reads = self.dice.choice([0.0, 0.0, 0.05, 0.2])
        session.weather.kinds = tuple(self.dice.sample(WRITE_FAULTS, self.dice.randint(1, 4)))
        self.world.app.faults.clear()
        if self.world.lags and self.dice.random() < 0.5:
            self.world.app.faults.switch("stale_reads", {"seconds": 4})
        return f"{session.weather.writes} {session.weather.reads}"

    async def late_arrival(self) -> int:
        """A request that was held up on its way arrives after all."""
        held = self.world.session.held
        if held:
            await self.world.session.arrive(held.pop(self.dice.randrange(len(held))))
        return len(held)

    async def halt_or_resume(self) -> str:
        """The kill switch, on or off."""
        scope = self.dice.choice(["*", "clinic-booking"])
        try:
            await halts.resume(self.gate, OPERATOR, scope=scope, reason="drill")
        except ChartgateError:
            await halts.halt(self.gate, OPERATOR, scope=scope, reason="drill")
            return "halted"
        return "resumed"

    async def shadow_or_back(self) -> str:
        """The stage goes back, or on again."""
        stage = self.dice.choice(["shadow", "suggest", "suggest"])
        await halts.set_stage(self.gate, OPERATOR, "visit-note", stage)
        return stage

    async def die_somewhere(self) -> str:
        """The next process that comes by one of the places dies there."""
        disarm()
        place = self.dice.choice(DEATHS)
        arm(place, die, after=self.dice.choice([0, 0, 1]))
        for _ in range(2):
            await (self.submit() if place < "c04" else self.work())
        return place

    async def restart(self) -> None:
        """A process ends and another one starts, with nothing under way."""
        await self.world.restart()

    async def lose_store(self) -> str:
        """The store goes away around the next change; whether it was kept is not known."""
        self.world.trouble.lose_store = self.dice.choice(["before", "after"])
        return self.world.trouble.lose_store

    async def zombie(self) -> str:
        """A worker, or a person's request, is stopped midway, and goes on when all has changed."""
        act = self.dice.choice((self.work, self.work, self.work, self.decide, self.roll_back))
        place = self.dice.choice(PLACES)

        weights = [self.operations[verb] for verb in self.inner]

        async def meanwhile() -> None:
            if self.dice.random() < 0.7:
                later(self.world.clock, 31)
            for _ in range(self.dice.randint(1, 5)):
                with suppress(ChartgateError):
                    await self.dice.choices(self.inner, weights)[0]()

        was_held = await self._stopped(place, act(), meanwhile)
        return f"{place} {act.__name__} {'held' if was_held else 'passed'}"

    async def last_moment(self) -> str:
        """A decision, its doubling, a withdrawal and the deadline in the same millisecond."""
        chosen = await self.one(Status.PENDING_REVIEW)
        if chosen.status is not Status.PENDING_REVIEW:
            return "none"
        if self.dice.random() < 0.7 and chosen.due_at > self.world.clock():
            self.world.clock.now = chosen.due_at
        rival = self.dice.choice(["expire", "approve", "refuse", "withdraw"])

        async def meanwhile() -> None:
            with suppress(ChartgateError):
                if rival == "expire":
                    await deadlines.expire_next(self.gate, "w0")
                elif rival == "withdraw":
                    await proposals.withdraw(self.gate, AUTHORS[chosen.charter], chosen.id)
                else:
                    await self.reviewed(chosen, rival)

        was_held = await self._stopped("change", self.reviewed(chosen, "approve"), meanwhile)
        return f"{rival} {'held' if was_held else 'passed'}"

    async def _stopped(
        self, place: str, act: Coroutine[Any, Any, object], meanwhile: Callable[[], Awaitable[None]]
    ) -> bool:
        """Runs `act` until it is held at `place`, then `meanwhile`, then the rest of it."""
        stop = Stop(place)
        context = copy_context()
        context.run(VICTIM.set, stop)
        task = asyncio.create_task(act, context=context)
        reached = asyncio.create_task(stop.reached.wait())
        await asyncio.wait((task, reached), return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        was_held, died = not task.done(), False
        if was_held:
            await self.world.pool.rest()
            try:
                await meanwhile()
            except Killed:
                died = True  # another process than the one that is held
        stop.let_go.set()
        with suppress(ChartgateError):
            await task
        if died:
            raise Killed
        return was_held

    async def staff(self) -> str:
        """Somebody takes what was handed off, or closes it."""
        chosen = await self.one(Status.HANDED_OFF)
        handoff = await HandoffStore(self.gate.database).of_proposal(chosen.id)
        if handoff is None:
            return "none"
        person = REVIEWERS[chosen.charter]
        if self.dice.random() < 0.5:
            await handoffs.take(self.gate, person, handoff.id)
            return "taken"
        await handoffs.close(self.gate, person, handoff.id, "done by hand")
        return "closed"

    async def calm(self) -> None:
        """The weather is fine, nobody halts anything, and the workers go on until all rests."""
        disarm()
        self.world.trouble.lose_store = ""
        self.world.session.weather.writes = self.world.session.weather.reads = 0.0
        self.world.app.faults.clear()
        later(self.world.clock, 400)  # over clocks that were set back
        for scope in ("*", "clinic-booking"):
            with suppress(ChartgateError):
                await halts.resume(self.gate, OPERATOR, scope=scope, reason="calm")
        await halts.set_stage(self.gate, OPERATOR, "visit-note", "suggest")
        for number in range(CALM_ROUNDS):
            await self.step(self._all_work)
            if self.world.session.held and number % 2:
                await self.step(self.late_arrival)
            elif await self._at_rest() and not self.world.session.held:
                break
            later(self.world.clock, 20 + 5 * number)

    async def _all_work(self) -> bool:
        did = False
        for turn in (
            commits.commit_next,
            commits.verify_next,
            rollbacks.rollback_next,
            deadlines.expire_next,
        ):
            for _ in range(30):
                if not await turn(self.gate, "calm"):
                    break
                did = True
        return did

    async def _at_rest(self) -> bool:
        found = await ProposalStore(self.gate.database).listed(limit=500)
        return all(p.status in REST for p in found)

    async def again(self) -> None:
        """I14: to recover once more changes nothing."""
        before = await self._standing()
        await self.world.restart()
        await self._all_work()
        if await self._standing() != before:
            self.checker.note("I14", "recovering again changed something")

    async def _standing(self) -> Any:
        found = await ProposalStore(self.gate.database).listed(limit=500)
        settled = sorted(
            (p.id, p.status.value) for p in found if p.status is not Status.PENDING_REVIEW
        )
        return settled, len(self.world.app.journal.effects)


async def play(
    pool: SimPool,
    seed: int,
    folder: Path,
    *,
    steps: int = STEPS,
    tenant: str = "",
    favour: Mapping[str, int] | None = None,
) -> Outcome:
    """Plays one seed, in a tenant of its own."""
    with seeded_ids(seed):
        world = World(pool, seed, folder, tenant=tenant)
        return await Play(world, steps=steps, favour=favour).run()
