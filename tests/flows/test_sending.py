"""The last look before a write: as late as can be, and the send no longer than its lease."""

import asyncio

from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.demo.hospital.faults import Fault
from chartgate.flows import commits, halts, rollbacks
from chartgate.model.proposal import Status
from tests.flows.clinics import OPERATOR, SOFIA, Clinic


async def hit(fault: Fault) -> None:
    """Waits until the fault has acted."""
    async with asyncio.timeout(5):
        while not fault.hits:
            await asyncio.sleep(0.005)


async def test_halt_while_the_adapter_prepares_the_write_holds_it(clinic: Clinic) -> None:
    guarded_by_put = {line: (line != "patch_in_transaction", "test") for line in PROBED}
    clinic.adapter.adopt(guarded_by_put)  # it reads before it writes
    approved = await clinic.approved()
    slow: list[Fault] = []
    preparing = asyncio.Event()

    async def slow_reads() -> None:
        slow.append(clinic.hospital.faults.switch("latency_s", 0.5, interactions=["read"]))
        preparing.set()

    clinic.sink.before["commit"] = slow_reads
    committing = asyncio.create_task(commits.commit_next(clinic.gate, "w1"))
    await preparing.wait()
    await hit(slow[0])
    await halts.halt(clinic.gate, OPERATOR, reason="drill")
    assert await committing
    assert (await clinic.get(approved)).status is Status.APPROVED
    assert not clinic.hospital.journal.requests
    (held,) = await clinic.audited("proposal.not-sent")
    assert held["reason"] == "halt"
    clinic.hospital.faults.clear()
    await halts.resume(clinic.gate, OPERATOR, reason="over")
    await commits.commit_next(clinic.gate, "w1")
    assert (await clinic.get(approved)).status is Status.VERIFIED
    assert clinic.effects(approved) == 1


async def test_halt_while_the_adapter_prepares_a_rollback_holds_it(clinic: Clinic) -> None:
    verified = await clinic.verified()
    await rollbacks.request_rollback(clinic.gate, SOFIA, verified.id, reason="wrong patient")
    sent = len(clinic.hospital.journal.requests)

    async def halt() -> None:
        await halts.halt(clinic.gate, OPERATOR, reason="drill")

    clinic.sink.before["commit"] = halt
    await rollbacks.rollback_next(clinic.gate, "w1")
    assert (await clinic.get(verified)).status is Status.ROLLING_BACK
    assert len(clinic.hospital.journal.requests) == sent
    await halts.resume(clinic.gate, OPERATOR, reason="over")
    await rollbacks.rollback_next(clinic.gate, "w1")
    assert (await clinic.get(verified)).status is Status.ROLLED_BACK


async def test_send_ends_with_its_lease_and_is_resolved_by_reading(clinic: Clinic) -> None:
    approved = await clinic.approved()

    async def late() -> None:
        clinic.clock.advance(clinic.gate.config.worker.lease_s - 0.3)
        clinic.hospital.faults.switch(
            "hang_after_applying_s", 0.8, interactions=["transaction"], times=1
        )

    clinic.sink.before["commit"] = late
    await commits.commit_next(clinic.gate, "w1")
    assert (await clinic.get(approved)).status is Status.COMMITTING
    assert (await clinic.commit_until_done(approved)).status is Status.VERIFIED
    assert clinic.effects(approved) == 1
