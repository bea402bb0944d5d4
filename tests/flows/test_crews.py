"""Several hands at once, and never two on one chart."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from chartgate.config import WorkerConfig
from chartgate.flows import commits
from chartgate.flows.crews import Crew, open_crew
from chartgate.flows.proposals import Submission, submit
from chartgate.flows.sending import claim
from chartgate.model.proposal import Proposal, Status
from chartgate.store.database import Database
from chartgate.store.proposals import ProposalStore
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import CLERK, NORA, SITE, Clinic, open_clinic

WAIT_S = 10.0


@pytest.fixture
async def clinic(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Clinic]:
    async with open_clinic(database, clock, tmp_path) as opened:
        yield opened


async def authorised(clinic: Clinic, number: int) -> Proposal:
    """An approved change of a Task about a patient of its own."""
    sample = clinic.hospital.resource(clinic.hospital.scenario.authorisation)
    patient = clinic.hospital.resource(sample["for"]["reference"])
    clinic.hospital.edit({**patient, "id": f"p{number}"})
    about = {"reference": f"Patient/p{number}"}
    clinic.hospital.edit({**sample, "id": f"t{number}", "for": about})
    clinic.clock.advance(1)  # what was decided first is taken up first
    task = f"Task/t{number}"
    patch = [{"op": "replace", "path": "/status", "value": "accepted"}]
    submission = Submission(
        site=SITE,
        action="update-status",
        changes=[{"interaction": "patch", "reference": task, "patch": patch}],
        confidence=0.93,
        rationale="Complete.",
        interaction=await clinic.see(CLERK, task),
    )
    return await clinic.approve(await submit(clinic.gate, CLERK, submission), NORA)


def hang(clinic: Clinic, *, times: int = 1) -> asyncio.Event:
    """So many writes wait until the event is set; further ones do not."""
    let_go, left = asyncio.Event(), [None] * times

    async def wait() -> None:
        if left:
            left.pop()
            await let_go.wait()

    clinic.sink.before["commit"] = wait
    return let_go


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await condition():
            await asyncio.sleep(0.01)


def has(clinic: Clinic, proposal: Proposal, status: Status) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (await clinic.get(proposal)).status is status

    return look


@pytest.fixture
async def crew(clinic: Clinic) -> AsyncIterator[Crew]:
    async with open_crew(clinic.gate, commits.COMMITS, "w1") as opened:
        yield opened


async def test_write_that_hangs_holds_up_no_other(clinic: Clinic, crew: Crew) -> None:
    let_go = hang(clinic)
    first = await authorised(clinic, 1)
    clinic.clock.advance(1)
    second = await clinic.approved()
    assert await crew.start_due() == 1
    await until(has(clinic, first, Status.COMMITTING))
    assert await crew.start_due() == 1
    await until(has(clinic, second, Status.VERIFIED))
    assert (await clinic.get(first)).status is Status.COMMITTING
    let_go.set()
    await until(has(clinic, first, Status.VERIFIED))


async def test_what_touches_the_same_chart_waits_for_its_turn(clinic: Clinic, crew: Crew) -> None:
    let_go = hang(clinic)
    slots = clinic.hospital.scenario.free_slots
    first = await clinic.approved(slots[0])
    clinic.clock.advance(1)  # what was decided first is taken up first
    second = await clinic.approved(slots[1])  # for the same patient
    assert await crew.start_due() == 1
    await until(has(clinic, first, Status.COMMITTING))
    assert await crew.start_due() == 0
    assert (await clinic.get(second)).fence == second.fence, "nobody took it up"
    let_go.set()
    await until(has(clinic, first, Status.VERIFIED))

    async def settled() -> bool:
        return (await clinic.get(second)).status in (Status.VERIFIED, Status.PENDING_REVIEW)

    await until(settled)  # the hand that is free goes on to it by itself


async def test_no_more_hands_than_the_config_lets(clinic: Clinic) -> None:
    config = replace(clinic.gate.config, worker=WorkerConfig(writes_at_once=2))
    let_go = hang(clinic, times=2)
    made = [await authorised(clinic, number) for number in range(3)]
    gate = replace(clinic.gate, config=config)
    async with open_crew(gate, commits.COMMITS, "w1") as crew:
        assert [await crew.start_due() for _ in range(3)] == [1, 1, 0]
        let_go.set()
        for proposal in made:
            await until(has(clinic, proposal, Status.VERIFIED))


async def test_fault_of_one_hand_ends_no_other(clinic: Clinic, crew: Crew) -> None:
    async def failing() -> None:
        clinic.sink.before.clear()
        raise ValueError("Canary")

    clinic.sink.before["commit"] = failing
    first, second = await authorised(clinic, 1), await authorised(clinic, 2)
    assert await crew.start_due() == 1
    await until(has(clinic, first, Status.COMMITTING))
    assert await crew.start_due() == 1
    await until(has(clinic, second, Status.VERIFIED))
    clinic.clock.advance(31)  # its lease and its back-off
    assert await crew.start_due() == 1
    clinic.clock.advance(31)
    await until(has(clinic, first, Status.APPROVED))
    clinic.clock.advance(31)
    assert await crew.start_due() == 1
    await until(has(clinic, first, Status.VERIFIED))


async def test_two_workers_who_took_up_the_same_chart_in_one_moment_do_not_both_write(
    clinic: Clinic,
) -> None:
    """Neither saw the other's lease when it took up: the one with the lower id goes first."""
    slots = clinic.hospital.scenario.free_slots
    made = [await clinic.approved(slot) for slot in slots[:2]]
    first = await claim(clinic.gate, Status.APPROVED)
    assert first is not None
    other = next(each for each in made if each.id != first.id)
    async with clinic.database.bookkeeping() as transaction:
        await transaction.execute(
            "UPDATE proposal SET lease_until = $1, fence = fence + 1 WHERE id = $2",
            clinic.clock() + timedelta(seconds=30),
            other.id,
        )
    store = ProposalStore(clinic.database)
    looks = {
        each.id: await store.last_look(await clinic.get(each), now=clinic.clock()) for each in made
    }
    assert [looks[id_].waits for id_ in sorted(looks)] == [False, True]
