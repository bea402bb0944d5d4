"""A clinic whose hospital has no transactions, and a sink that fails at chosen requests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.demo.hospital.journal import Effect
from chartgate.errors import ChartgateError, OutcomeUnknown, SourceUnreachable, WriteRefused
from chartgate.flows import commits, rollbacks
from chartgate.flows.proposals import submit
from chartgate.model.ports import LastLook
from chartgate.model.proposal import Proposal, Status
from chartgate.model.resource import Resource
from chartgate.model.write import Receipt, Write
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import (
    EHR,
    PICKER,
    Clinic,
    Killed,
    TrapSink,
    booking_changes,
    open_clinic,
    sample_charter,
)

TOGETHER_LINES = ("transaction_atomic",)
WIDE = [
    ("rules: [appointment-within-slot, slot-is-free, same-patient]", "rules: [same-patient]"),
]
MOVING = (Status.APPROVED, Status.COMMITTING, Status.COMMITTED, Status.ROLLING_BACK)
Deed = Callable[[], Awaitable[None]]


class StepSink(TrapSink):
    """Each request that would be sent has a number, from 0; `deeds` may spoil it."""

    def __init__(self, sink: Any) -> None:
        super().__init__(sink)
        self.count = 0
        self.deeds: dict[int, str] = {}
        self.before_request: dict[int, Deed] = {}
        self.held: list[Write] = []

    async def commit(self, write: Write, *, last_look: LastLook | None = None) -> Receipt:
        number, self.count = self.count, self.count + 1
        if number in self.before_request:
            await self.before_request.pop(number)()
        deed = self.deeds.pop(number, "")
        if deed == "down":
            raise SourceUnreachable("it cannot be reached")
        if deed == "kill-before":
            raise Killed
        if deed in ("refuse", "hold"):
            if last_look is not None:
                await last_look()
            if deed == "refuse":
                raise WriteRefused("north-ehr refused the write; nothing was written")
            self.held.append(write)
            raise OutcomeUnknown("the answer was lost")
        receipt = await super().commit(write, last_look=last_look)
        if deed == "lose":
            raise OutcomeUnknown("the answer was lost")
        if deed == "kill-after":
            raise Killed
        return receipt

    async def release(self) -> bool:
        """A request that was held arrives at last; whether it was taken."""
        try:
            await self._sink.commit(self.held.pop(0))
        except ChartgateError:
            return False
        return True


class Stepping:
    """What a test plays with: one visit over two slots, so three changes."""

    def __init__(self, clinic: Clinic, sink: StepSink) -> None:
        self.clinic = clinic
        self.sink = sink
        self.slots: tuple[str, ...] = ()
        self.preimages: dict[str, Resource] = {}

    async def approved(self, first: int = 0, *, backwards: bool = False) -> Proposal:
        """Approved; `backwards` with its slots before its appointment."""
        clinic = self.clinic
        self.slots = tuple(clinic.hospital.scenario.free_slots[first : first + 2])
        submission = await clinic.booking(self.slots[0])
        interaction = await clinic.see(
            PICKER,
            clinic.hospital.scenario.booking_patient,
            *self.slots,
            clinic.hospital.scenario.schedule,
        )
        left, right = (clinic.hospital.resource(slot) for slot in self.slots)
        patient, practitioner = (
            clinic.hospital.scenario.booking_patient,
            clinic.hospital.scenario.practitioner,
        )
        changes = [
            *booking_changes(left, patient, practitioner),
            booking_changes(right, patient, practitioner)[1],
        ]
        proposal = await submit(
            clinic.gate,
            PICKER,
            type(submission)(
                site=submission.site,
                action=submission.action,
                changes=changes[::-1] if backwards else changes,
                confidence=0.93,
                rationale="A long visit.",
                interaction=interaction,
            ),
        )
        self.preimages = {slot: plain(clinic.hospital.resource(slot)) for slot in self.slots}
        clinic.hospital.journal.clear()
        self.sink.count = 0
        return await clinic.approve(proposal)

    async def work(self, worker: str = "w1") -> bool:
        """One turn of a worker."""
        did = await commits.commit_next(self.clinic.gate, worker)
        did = await commits.verify_next(self.clinic.gate, worker) or did
        return await rollbacks.rollback_next(self.clinic.gate, worker) or did

    async def turn(self) -> None:
        """As `work`, of a worker that may die."""
        try:
            await self.work()
        except Killed:
            pass

    async def until_done(self, proposal: Proposal, *, turns: int = 40) -> Proposal:
        for _ in range(turns):
            await self.turn()
            found = await self.clinic.get(proposal)
            if found.status not in MOVING:
                return found
            self.clinic.clock.advance(31)
        return await self.clinic.get(proposal)

    def made(self, proposal: Proposal) -> list[Effect]:
        """Appointments that this proposal made, by the hospital's journal."""
        return [
            effect
            for effect in self.clinic.hospital.journal.effects
            if effect.interaction == "create"
            and any(mark.startswith(proposal.id) for mark in effect.markers)
        ]

    def effects_on(self, reference: str) -> list[Effect]:
        return [e for e in self.clinic.hospital.journal.effects if e.reference == reference]

    def booked(self, proposal: Proposal) -> list[str]:
        """Which appointments of it stand booked."""
        return [
            effect.reference
            for effect in self.made(proposal)
            if self.clinic.hospital.resource(effect.reference)["status"] == "booked"
        ]

    def status(self, slot: int) -> str:
        return str(self.clinic.hospital.resource(self.slots[slot])["status"])

    def edit(self, reference: str, **elements: Any) -> None:
        """Somebody edits it at the hospital."""
        hospital = self.clinic.hospital
        hospital.edit({**hospital.resource(reference), **elements})

    def edit_before(self, request: int, reference: str, **elements: Any) -> None:
        """As `edit`, when this request of ours is about to go out."""

        async def edited() -> None:
            self.edit(reference, **elements)

        self.sink.before_request[request] = edited

    def is_as_before(self, proposal: Proposal) -> bool:
        return not self.booked(proposal) and all(
            plain(self.clinic.hospital.resource(slot)) == self.preimages[slot]
            for slot in self.slots
        )


def plain(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name != "meta"}


@asynccontextmanager
async def open_stepping(
    database: Database, clock: FakeClock, folder: Path
) -> AsyncIterator[Stepping]:
    charters = [sample_charter("clinic-booking", change=WIDE)]
    async with open_clinic(database, clock, folder, charters=charters) as clinic:
        take_transactions_away(clinic)
        sink = StepSink(clinic.adapter)
        cast(dict[str, Any], clinic.gate.sinks)[EHR] = sink
        yield Stepping(clinic, sink)


def take_transactions_away(clinic: Clinic, *lines: str) -> None:
    """As if the probe had found that they keep half."""
    failing = lines or TOGETHER_LINES
    clinic.adapter.adopt({line: (line not in failing, "test") for line in PROBED})
