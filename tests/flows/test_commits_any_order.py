"""Any order of verbs, faults and clocks keeps the invariants: at most one effect a proposal, only
what was approved before is sent, nothing while halted, and nothing is stuck in the end."""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from chartgate.errors import ChartgateError
from chartgate.flows import commits, deadlines, halts, proposals, reviews, rollbacks
from chartgate.model.proposal import Proposal, Status
from chartgate.model.write import change_json
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import ProposalStore
from tests.flows.clinics import OPERATOR, PICKER, SOFIA, Clinic

STEPS = 40
SLOTS = 5
RESTING = {
    Status.PENDING_REVIEW,
    Status.REJECTED,
    Status.WITHDRAWN,
    Status.HANDED_OFF,
    Status.VERIFIED,
    Status.ROLLED_BACK,
}
WRITES = ("transaction", "create", "update", "patch", "delete")
FAULTS: tuple[tuple[str, Any], ...] = (
    ("error_after_applying", 502),
    ("reset_after_applying", True),
    ("down", "reset"),
    ("down", "503"),
    ("throttle", {"retry_after_s": 0}),
    ("stale_reads", {"versions": 1}),
)


class Play:
    """A clinic and a dice; each verb acts on a random proposal and may be refused."""

    def __init__(self, clinic: Clinic, seed: int) -> None:
        self.clinic = clinic
        self.dice = random.Random(seed)
        self.ids: list[str] = []
        self.halted = False
        self.requests_at_halt = 0
        self.verbs: dict[Callable[[], Awaitable[object]], int] = {
            self.submit: 4,
            self.approve: 6,
            self.refuse: 1,
            self.edit: 1,
            self.withdraw: 1,
            self.roll_back: 3,
            self.desk_edits: 2,
            self.fault: 4,
            self.work: 12,
            self.wait: 4,
            self.halt_or_resume: 1,
        }

    async def step(self) -> None:
        verb = self.dice.choices(list(self.verbs), list(self.verbs.values()))[0]
        with suppress(ChartgateError):
            await verb()
        if self.halted:
            assert len(self.clinic.hospital.journal.requests) == self.requests_at_halt

    async def submit(self) -> None:
        slot = self.dice.choice(self.clinic.hospital.scenario.free_slots[:SLOTS])
        confidence = self.dice.choice([0.4, 0.9, 0.9, 0.9])
        self.ids.append((await self.clinic.booked(slot, confidence=confidence)).id)

    async def one(self) -> Proposal:
        if not self.ids:
            await self.submit()
        return await ProposalStore(self.clinic.database).get(self.dice.choice(self.ids))

    async def approve(self) -> None:
        await self.clinic.approve(await self.one())

    async def refuse(self) -> None:
        chosen = await self.one()
        await reviews.review(
            self.clinic.gate,
            SOFIA,
            chosen.id,
            verdict=self.dice.choice(["refuse", "hand-back"]),
            digest=chosen.content.digest,
            reason="no",
        )

    async def edit(self) -> None:
        chosen = await self.one()
        first, *rest = (change_json(c) for c in chosen.content.changes)
        first["resource"] = {**first["resource"], "comment": f"{self.dice.random()}"}
        await reviews.edit(
            self.clinic.gate,
            SOFIA,
            chosen.id,
            changes_raw=[first, *rest],
            digest=chosen.content.digest,
        )

    async def withdraw(self) -> None:
        await proposals.withdraw(self.clinic.gate, PICKER, (await self.one()).id)

    async def roll_back(self) -> None:
        chosen = await self.one()
        await rollbacks.request_rollback(self.clinic.gate, SOFIA, chosen.id, reason="wrong")

    async def desk_edits(self) -> None:
        slot = self.dice.choice(self.clinic.hospital.scenario.free_slots[:SLOTS])
        changed = {"status": self.dice.choice(["free", "busy"]), "comment": "by the desk"}
        self.clinic.hospital.edit({**self.clinic.hospital.resource(slot), **changed})

    async def fault(self) -> None:
        name, value = self.dice.choice(FAULTS)
        only = WRITES if "applying" in name else ()
        self.clinic.hospital.faults.switch(name, value, interactions=only, times=3)

    async def work(self) -> None:
        gate, worker = self.clinic.gate, f"w{self.dice.randrange(3)}"
        await commits.commit_next(gate, worker)
        await commits.verify_next(gate, worker)
        await rollbacks.rollback_next(gate, worker)
        await deadlines.expire_next(gate, worker)

    async def wait(self) -> None:
        self.clinic.clock.advance(self.dice.choice([1, 5, 31, 61, 200]))

    async def halt_or_resume(self) -> None:
        act = halts.resume if self.halted else halts.halt
        await act(self.clinic.gate, OPERATOR, reason="drill")
        self.halted = not self.halted
        self.requests_at_halt = len(self.clinic.hospital.journal.requests)

    async def settle(self) -> None:
        """The hospital is well again and the workers run until nothing is left to do."""
        if self.halted:
            await self.halt_or_resume()
        self.clinic.hospital.faults.clear()
        await self.clinic.until_no_longer_throttled()
        for _ in range(60):
            await self.work()
            self.clinic.clock.advance(20)


async def check_invariants(clinic: Clinic, ids: list[str]) -> None:
    reviews_ = await clinic.audited("proposal.review")
    decided = {
        (e["entities"][0], e["details"]["content"])
        for e in reviews_
        if e["outcome"] == "success" and e["details"]["status"] == "approved"
    }
    for event in await clinic.audited("proposal.send"):
        assert (event["entities"][0], event["details"]["content"]) in decided
    for id_ in ids:
        found = await ProposalStore(clinic.database).get(id_)
        creates = len(clinic.hospital.journal.effects_of(id_, interaction="create"))
        assert creates <= 1, "at most one effect"
        assert found.status in RESTING, "nothing is stuck"
        handoff = await HandoffStore(clinic.database).of_proposal(id_)
        assert (handoff is not None) == (found.status is Status.HANDED_OFF)
        if found.status in (Status.VERIFIED, Status.ROLLED_BACK):
            assert creates == 1
            assert found.receipt is not None
            reference = found.receipt.effects[0].reference
            status = clinic.hospital.resource(reference)["status"]
            assert (status == "booked") == (found.status is Status.VERIFIED)
        elif found.status is not Status.HANDED_OFF:
            assert creates == 0, found.status


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_of_verbs_keeps_the_invariants(clinic: Clinic, seed: int) -> None:
    play = Play(clinic, seed)
    for _ in range(STEPS):
        await play.step()
    await play.settle()
    await check_invariants(clinic, play.ids)
