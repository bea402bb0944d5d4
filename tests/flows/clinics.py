"""The sample hospital on a socket, with a gate on it that runs the sample charters."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

import chartgate
from chartgate.adapters.egress import address_rules
from chartgate.adapters.fhir_r4.adapter import FhirR4, open_adapter
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.config import Config, ConnectionConfig, ReviewConfig
from chartgate.demo.hospital import Hospital, running_hospital, sample_patients
from chartgate.errors import Moved, Throttled
from chartgate.flows import commits, halts, reads, reviews
from chartgate.flows.proposals import Submission, submit
from chartgate.gate import Gate, Running
from chartgate.model.audit import AuditEvent
from chartgate.model.ports import LastLook
from chartgate.model.principal import Client, Person, Process
from chartgate.model.proposal import Proposal
from chartgate.model.resource import Copy, Resource
from chartgate.model.write import Receipt, Write
from chartgate.policy.charters import compile_book, parse_charter
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database
from chartgate.store.proposals import ProposalStore
from chartgate.testing.clock import FakeClock

SITE = "north-clinic"
EHR = "north-ehr"
CHARTERS = ("clinic-booking", "visit-note", "prior-authorisation")
PICKER = Client(
    id="slot-picker",
    charter="clinic-booking",
    scopes=("system/Patient.r", "system/Slot.rs", "system/Schedule.r", "system/Appointment.rs"),
)
SCRIBE = Client(id="scribe", charter="visit-note", scopes=("system/Encounter.r",))
CLERK = Client(id="auth-clerk", charter="prior-authorisation", scopes=("system/Task.rs",))
SOFIA = Person(id="sofia", roles=("scheduler",), sites=(SITE,))
OSEI = Person(id="dr-osei", roles=("clinician",), sites=(SITE,))
NORA = Person(id="nora", roles=("utilisation",), sites=(SITE,))
AT_ONCE = ReviewConfig(dwell_s=0.0, word_s=0.0, field_s=0.0)
OPERATOR = Process(id="cli/test")


def sample_charter(name: str, *, change: Sequence[tuple[str, str]] = ()) -> Any:
    """One of the sample charters, with texts of it replaced."""
    folder = Path(chartgate.__file__).parent / "cli" / "samples"
    text = (folder / "charters" / f"{name}.yaml").read_text(encoding="utf-8")
    for old, new in change:
        assert old in text, f"{old} is not in {name}"
        text = text.replace(old, new)
    return parse_charter(
        text.encode(), file=f"{name}.yaml", read_model=lambda model: (folder / model).read_bytes()
    )


class Killed(BaseException):
    """As if the process were killed here."""


def kill_around(patch: pytest.MonkeyPatch, number: int, place: str) -> None:
    """The worker dies before or after its change of that number."""
    change, change_at_once = Database.change, Database.change_at_once
    count = 0

    @asynccontextmanager
    async def around() -> AsyncIterator[None]:
        nonlocal count
        count += 1
        here = count == number
        if here and place == "before":
            raise Killed
        yield
        if here:
            raise Killed

    @asynccontextmanager
    async def dying(database: Database, *events: AuditEvent) -> AsyncIterator[Any]:
        async with around(), change(database, *events) as transaction:
            yield transaction

    async def dying_at_once(database: Database, *arguments: Any, **options: Any) -> Any:
        async with around():
            return await change_at_once(database, *arguments, **options)

    patch.setattr(Database, "change", dying)
    patch.setattr(Database, "change_at_once", dying_at_once)


class TrapSink:
    """The real sink, with a place to stop before or after each of its calls."""

    def __init__(self, sink: FhirR4) -> None:
        self._sink = sink
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        self.after: dict[str, Callable[[], Awaitable[None]]] = {}
        self.sent: list[Write] = []

    @property
    def stand_ins(self) -> Mapping[str, tuple[str, str]]:
        return self._sink.stand_ins

    async def commit(self, write: Write, *, last_look: LastLook | None = None) -> Receipt:
        await self._stop(self.before, "commit")

        async def noted() -> None:
            if last_look is not None:
                await last_look()
            self.sent.append(write)

        receipt = await self._sink.commit(write, last_look=noted)
        await self._stop(self.after, "commit")
        return receipt

    async def resolve(self, write: Write) -> Receipt | None:
        await self._stop(self.before, "resolve")
        receipt = await self._sink.resolve(write)
        await self._stop(self.after, "resolve")
        return receipt

    def goes_apart(self, write: Write) -> bool:
        return self._sink.goes_apart(write)

    async def compensation(self, write: Write, receipt: Receipt, before: Sequence[Copy]) -> Write:
        await self._stop(self.before, "compensation")
        return await self._sink.compensation(write, receipt, before)

    def differences(
        self, write: Write, receipt: Receipt, after: Sequence[Copy], before: Sequence[Copy] = ()
    ) -> list[str]:
        return self._sink.differences(write, receipt, after, before)

    async def _stop(self, traps: dict[str, Callable[[], Awaitable[None]]], call: str) -> None:
        if call in traps:
            await traps.pop(call)()


@dataclass(kw_only=True)
class Clinic:
    """What a test plays with."""

    hospital: Hospital
    gate: Gate
    clock: FakeClock
    sink: TrapSink
    adapter: FhirR4
    database: Database
    free: list[str] = field(default_factory=list)

    async def see(self, client: Client, *references: str) -> str:
        """The client reads these in one interaction; its id."""
        interaction: str | None = None
        for reference in references:
            answer = await self._read(client, reference, interaction)
            interaction = answer.interaction
        assert interaction is not None
        return interaction

    async def _read(self, client: Client, reference: str, interaction: str | None) -> reads.Answer:
        """Begun anew where a right was taken away meanwhile, as by the web."""
        kind, _, id_ = reference.partition("/")
        try:
            return await reads.read(
                self.gate, client, SITE, kind, id_, interaction=interaction, if_none_match=None
            )
        except Moved:
            return await reads.read(
                self.gate, client, SITE, kind, id_, interaction=interaction, if_none_match=None
            )

    async def booking(self, slot: str | None = None, **changes: Any) -> Submission:
        """A submission of slot-picker: the first free slot for the booking patient."""
        slot = slot or self.hospital.scenario.free_slots[0]
        patient = self.hospital.scenario.booking_patient
        schedule = self.hospital.scenario.schedule
        interaction = await self.see(PICKER, patient, slot, schedule)
        submission = Submission(
            site=SITE,
            action="book",
            changes=booking_changes(
                self.hospital.resource(slot), patient, self.hospital.scenario.practitioner
            ),
            confidence=0.93,
            rationale="First free slot.",
            interaction=interaction,
        )
        return replace(submission, **changes)

    async def booked(self, slot: str | None = None, **changes: Any) -> Proposal:
        """A submitted booking."""
        return await submit(self.gate, PICKER, await self.booking(slot, **changes))

    async def approved(self, slot: str | None = None) -> Proposal:
        """A booking that the scheduler approved."""
        proposal = await self.booked(slot)
        return await self.approve(proposal)

    async def approve(self, proposal: Proposal, person: Person = SOFIA) -> Proposal:
        return await reviews.review(
            self.gate, person, proposal.id, verdict="approve", digest=proposal.content.digest
        )

    async def verified(self, slot: str | None = None) -> Proposal:
        """A booking that stands in the chart."""
        proposal = await self.approved(slot)
        assert await commits.commit_next(self.gate, "w1")
        return await self.get(proposal)

    async def get(self, proposal: Proposal) -> Proposal:
        return await ProposalStore(self.database).get(proposal.id)

    async def commit_until_done(self, proposal: Proposal, *, steps: int = 20) -> Proposal:
        """Runs workers, moving the clock over back-offs and leases, until nothing is to do."""
        for _ in range(steps):
            did = await commits.commit_next(self.gate, "w2")
            did = await commits.verify_next(self.gate, "w2") or did
            if not did and (await self.get(proposal)).status.value not in UNDER_WAY:
                break
            self.clock.advance(31)
        return await self.get(proposal)

    def effects(self, proposal: Proposal, interaction: str = "create") -> int:
        """How often the hospital's journal says it was applied."""
        return len(self.hospital.journal.effects_of(proposal.id, interaction=interaction))

    async def until_no_longer_throttled(self) -> None:
        """What the hospital said about slowing down holds on the real clock."""
        source = self.gate.source(EHR)
        async with asyncio.timeout(10):
            while True:
                with suppress(Throttled):
                    await source.read(self.hospital.scenario.clinic)
                    return
                await asyncio.sleep(0.05)

    async def audited(self, action: str) -> list[dict[str, Any]]:
        """Audit events of one action, in order."""
        rows = await self.database.fetch(
            "SELECT body FROM audit_event WHERE tenant = $1 AND action = $2 ORDER BY id", action
        )
        return [orjson.loads(row["body"]) for row in rows]


UNDER_WAY = ("approved", "committing", "committed")


def booking_changes(slot: Resource, patient: str, practitioner: str) -> list[dict[str, Any]]:
    """The changes that book `patient` into `slot`."""
    return [
        {
            "interaction": "create",
            "resource": {
                "resourceType": "Appointment",
                "status": "booked",
                "slot": [{"reference": f"Slot/{slot['id']}"}],
                "start": slot["start"],
                "end": slot["end"],
                "participant": [
                    {"actor": {"reference": patient}, "status": "accepted"},
                    {"actor": {"reference": practitioner}, "status": "accepted"},
                ],
            },
        },
        {
            "interaction": "patch",
            "reference": f"Slot/{slot['id']}",
            "patch": [{"op": "replace", "path": "/status", "value": "busy"}],
        },
    ]


@asynccontextmanager
async def open_clinic(
    database: Database,
    clock: FakeClock,
    folder: Path,
    *,
    charters: Sequence[Any] | None = None,
    probed: bool = True,
    review: ReviewConfig = AT_ONCE,
) -> AsyncIterator[Clinic]:
    """A hospital of its own and a gate on it, every charter at stage suggest, where who approves
    need not have looked unless `review` says so."""
    fill = sample_patients(today=clock().date())
    async with running_hospital(fill=fill, clock=clock) as hospital:
        connection = ConnectionConfig(
            name=EHR,
            adapter="fhir_r4",
            options={
                "url": hospital.fhir_url,
                "dialect": "sample-hospital",
                "retries": 0,
                "timeout_s": 1.0,
                "breaker_failures": 1000,
            },
        )
        verdicts = {line: (probed, "test") for line in PROBED}
        async with open_adapter(
            connection,
            folder=folder,
            clock=clock,
            verdicts=verdicts,
            egress=address_rules(Config(folder=folder)),
        ) as adapter:
            audit = AuditWriter(database)
            await audit.start()
            sink = TrapSink(adapter)
            gate = Gate(
                config=Config(folder=folder, review=review),
                clock=clock,
                database=database,
                audit=audit,
                running=Running(
                    charters=compile_book(charters or [sample_charter(n) for n in CHARTERS])
                ),
                sources={EHR: adapter},
                sinks={EHR: sink},
            )
            for name in gate.charters.charters:
                await halts.set_stage(gate, OPERATOR, name, "suggest")
            try:
                yield Clinic(
                    hospital=hospital,
                    gate=gate,
                    clock=clock,
                    sink=sink,
                    adapter=adapter,
                    database=database,
                )
            finally:
                await audit.close()
