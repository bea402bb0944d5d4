"""What the tests of rollbacks share: changes that stand on one another, and workers that undo."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from chartgate.flows import commits, rollbacks
from chartgate.flows.proposals import submit
from chartgate.model.proposal import Proposal, Status
from tests.flows.clinics import CLERK, NORA, Clinic

PERIOD = {"start": "2026-03-02T09:00:00Z", "end": "2026-03-16T09:00:00Z"}


def plain(resource: dict[str, Any]) -> dict[str, Any]:
    """Without what the server sets on each save."""
    return {k: v for k, v in resource.items() if k != "meta"}


async def task_written(clinic: Clinic, status: str) -> Proposal:
    """auth-clerk moves the Task of an authorisation to `status`; approved, written, verified."""
    task = clinic.hospital.scenario.authorisation
    submission = replace(
        await clinic.booking(),
        action="update-status",
        interaction=await clinic.see(CLERK, task),
        changes=[
            {
                "interaction": "patch",
                "reference": task,
                "patch": [
                    {"op": "replace", "path": "/status", "value": status},
                    {"op": "add", "path": "/executionPeriod", "value": PERIOD},
                ],
            }
        ],
    )
    proposal = await submit(clinic.gate, CLERK, submission)
    await clinic.approve(proposal, NORA)
    assert await commits.commit_next(clinic.gate, "w1")
    clinic.clock.advance(1)
    done = await clinic.get(proposal)
    assert done.status is Status.VERIFIED
    return done


async def undo_all(clinic: Clinic, *proposals: Proposal, steps: int = 40) -> list[Status]:
    """Runs a worker, moving the clock over back-offs, until none is being taken back."""
    for _ in range(steps):
        if await rollbacks.rollback_next(clinic.gate, "w2"):
            continue
        found = [(await clinic.get(p)).status for p in proposals]
        if Status.ROLLING_BACK not in found:
            return found
        clinic.clock.advance(31)
    return [(await clinic.get(p)).status for p in proposals]


def restore(clinic: Clinic, reference: str, *, versions: int) -> None:
    """The hospital is set back to a backup: the newest versions of a resource are gone."""
    chart = clinic.hospital.chart
    for _ in range(versions):
        chart.undo(chart.current[reference])


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)
