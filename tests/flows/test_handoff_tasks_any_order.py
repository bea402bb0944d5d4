"""Any order of people, workers, faults of the EHR and deaths of ours: a handoff is never lost, is
never put into the EHR twice, is closed once, and both sides say the same in the end."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from chartgate.errors import ChartgateError
from chartgate.flows import escalations, halts, handoff_tasks, handoffs
from chartgate.model.handoff import HandoffStatus, ItemState
from chartgate.policy.charters import compile_book
from chartgate.store.handoffs import HandoffStore
from tests.flows.clinics import OPERATOR, SOFIA, Clinic, Killed, kill_around, sample_charter

STEPS = 60
OTHERWISE = "{handoff: front-desk, within: 30m, below: 0.60}"
CHAIN = (
    "{handoff: front-desk, within: 30m, below: 0.60, as: task,"
    " escalate: [{after: 1m, to: charge-nurse}, {after: 1m, to: front-desk}]}"
)
WRITES = ("create", "update", "patch")
FAULTS: tuple[tuple[str, Any], ...] = (
    ("error_after_applying", 502),
    ("reset_after_applying", True),
    ("down", "reset"),
    ("down", "503"),
    ("throttle", {"retry_after_s": 0}),
)
THERE = ("received", "accepted", "in-progress", "completed", "cancelled", "rejected")


class Play:
    """A clinic and a dice."""

    def __init__(self, clinic: Clinic, patch: pytest.MonkeyPatch, seed: int) -> None:
        self.clinic = clinic
        self.patch = patch
        self.dice = random.Random(seed)
        self.slots = list(clinic.hospital.scenario.free_slots)
        self.opened: list[str] = []
        self.halted = False
        self.deleted = False
        self.verbs: dict[Callable[[], Awaitable[object]], int] = {
            self.open: 4,
            self.take: 2,
            self.close: 1,
            self.staff_there: 4,
            self.delete_there: 1,
            self.fault: 4,
            self.work: 10,
            self.die: 4,
            self.wait: 5,
            self.halt_or_resume: 1,
        }

    async def step(self) -> None:
        verb = self.dice.choices(list(self.verbs), list(self.verbs.values()))[0]
        with suppress(ChartgateError):
            await verb()

    async def open(self) -> None:
        if self.slots:
            self.opened.append((await self.clinic.booked(self.slots.pop(), confidence=0.4)).id)

    async def one(self) -> str:
        if not self.opened:
            await self.open()
        found = await HandoffStore(self.clinic.database).of_proposal(self.dice.choice(self.opened))
        assert found is not None, "it is lost"
        return found.id

    async def take(self) -> None:
        await handoffs.take(self.clinic.gate, SOFIA, await self.one())

    async def close(self) -> None:
        await handoffs.close(self.clinic.gate, SOFIA, await self.one(), "done here")

    async def task(self) -> str | None:
        found = self.created(await self.one())
        return found[0] if found else None

    async def staff_there(self) -> None:
        reference = await self.task()
        with suppress(KeyError):  # there is none, or it was deleted
            task = self.clinic.hospital.resource(reference or "")
            if task["status"] not in ("completed", "cancelled", "rejected"):
                self.clinic.hospital.edit({**task, "status": self.dice.choice(THERE)})

    async def delete_there(self) -> None:
        reference = await self.task()
        if reference:
            self.deleted = True
            self.clinic.hospital.chart.put(reference, None, method="DELETE")

    async def fault(self) -> None:
        name, value = self.dice.choice(FAULTS)
        only = WRITES if "applying" in name else ()
        self.clinic.hospital.faults.switch(name, value, interactions=only, times=2)

    async def work(self) -> None:
        worker = f"w{self.dice.randrange(3)}"
        await handoff_tasks.keep_next(self.clinic.gate, worker)
        await escalations.escalate_next(self.clinic.gate, worker)

    async def die(self) -> None:
        with self.patch.context() as patch:
            kill_around(patch, self.dice.randrange(1, 4), self.dice.choice(["before", "after"]))
            with suppress(Killed):
                await self.work()

    async def wait(self) -> None:
        self.clinic.clock.advance(self.dice.choice([1, 31, 61, 301]))

    async def halt_or_resume(self) -> None:
        act = halts.resume if self.halted else halts.halt
        await act(self.clinic.gate, OPERATOR, reason="drill")
        self.halted = not self.halted

    async def settle(self) -> None:
        """No more faults; the workers run until nothing moves."""
        if self.halted:
            await self.halt_or_resume()
        self.clinic.hospital.faults.clear()
        await self.clinic.until_no_longer_throttled()
        for _ in range(6):
            self.clinic.clock.advance(331)
            await self.work()
            while await escalations.escalate_next(self.clinic.gate, "w1"):
                pass

    def created(self, handoff: str) -> list[str]:
        """The Tasks that bear its marker and were not deleted by staff, who may do that."""
        hospital = self.clinic.hospital
        effects = hospital.journal.effects_of(f"{handoff}.task", interaction="create")
        made = [effect.reference for effect in effects]
        return [reference for reference in made if not hospital.chart.current[reference].deleted]


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_of_staff_workers_faults_and_deaths_keeps_one_of_each_in_line(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    charter = sample_charter("clinic-booking", change=[(OTHERWISE, CHAIN)])
    clinic.gate.running.charters = compile_book([charter])
    play = Play(clinic, monkeypatch, seed)
    await play.open()
    for _ in range(STEPS):
        await play.step()
    await play.settle()
    store = HandoffStore(clinic.database)
    closes = Counter(e["details"]["handoff"] for e in await clinic.audited("handoff.close"))
    steps = Counter(e["details"]["handoff"] for e in await clinic.audited("handoff.escalate"))
    for proposal in play.opened:
        handoff = await store.of_proposal(proposal)
        assert handoff is not None
        item = await store.item(handoff.id)
        assert item is not None
        created = play.created(handoff.id)
        assert len(created) <= 1
        closed = handoff.status is HandoffStatus.CLOSED
        assert closes[handoff.id] == int(closed)
        assert steps[handoff.id] == handoff.step
        assert item.state is not ItemState.WAITING, item.last_error
        if item.state is ItemState.GONE:
            continue
        assert (item.state is ItemState.ENDED) == closed
        assert created or closed or play.deleted
        if created:
            status = clinic.hospital.resource(created[0])["status"]
            assert (status in ("completed", "cancelled")) == closed, status
            taken = handoff.status is HandoffStatus.TAKEN
            assert (status in ("accepted", "in-progress")) == taken, status
