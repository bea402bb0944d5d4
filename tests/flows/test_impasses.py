"""What gets no further is tried a few times, and then it is staff's: never again and again unseen."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chartgate.errors import SourceRefused, SourceUnreachable
from chartgate.flows import commits, impasses, rollbacks
from chartgate.model.proposal import Proposal, Status
from chartgate.store.halts import HaltStore
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import ProposalStore
from tests.flows.clinics import SOFIA, Clinic

REFUSED = SourceRefused("the EHR does not let us read this")
FAULT = ZeroDivisionError("ours")
Step = Callable[[Any, str], Awaitable[bool]]


def failing(error: Exception) -> Callable[..., Awaitable[Any]]:
    async def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


async def tried(clinic: Clinic, step: Step, *, times: int) -> int:
    """Tries that often, over every back-off; how often something was claimed."""
    claimed = 0
    for _ in range(times):
        try:
            claimed += await step(clinic.gate, "w1")
        except ZeroDivisionError:
            claimed += 1
        clinic.clock.advance(301)
    return claimed


async def is_handed_off(clinic: Clinic, proposal: Proposal, reason: str) -> bool:
    found = await clinic.get(proposal)
    handoff = await HandoffStore(clinic.database).of_proposal(proposal.id)
    assert found.reason is not None
    return found.status is Status.HANDED_OFF and handoff is not None and reason in found.reason


@pytest.mark.parametrize(
    ("error", "reason"), [(REFUSED, str(REFUSED)), (FAULT, impasses.SAY_FAULT)], ids=["4xx", "bug"]
)
async def test_approved_proposal_whose_guards_cannot_be_looked_at_goes_to_staff(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    approved = await clinic.approved()
    monkeypatch.setattr(commits, "look", failing(error))
    attempts_max = clinic.gate.config.worker.attempts_max
    assert await tried(clinic, commits.commit_next, times=attempts_max - 1) == attempts_max - 1
    assert (await clinic.get(approved)).status is Status.APPROVED
    assert await tried(clinic, commits.commit_next, times=3) == 1
    assert await is_handed_off(clinic, approved, reason)
    assert clinic.effects(approved) == 0


async def test_dead_link_is_no_impasse(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    approved = await clinic.approved()
    monkeypatch.setattr(commits, "look", failing(SourceUnreachable("down")))
    assert await tried(clinic, commits.commit_next, times=12) == 12
    assert (await clinic.get(approved)).status is Status.APPROVED


@pytest.mark.parametrize("error", [REFUSED, FAULT], ids=["4xx", "bug"])
async def test_written_proposal_that_cannot_be_read_back_goes_to_staff(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    approved = await clinic.approved()
    monkeypatch.setattr(commits, "read_back_differences", failing(error))
    await tried(clinic, commits.commit_next, times=1)
    assert (await clinic.get(approved)).status is Status.COMMITTED
    assert await tried(clinic, commits.verify_next, times=8) == 4
    assert await is_handed_off(clinic, approved, impasses.SAY_NOT_READ_BACK)
    assert clinic.effects(approved) == 1
    assert (await clinic.audited("proposal.verify"))[-1]["outcome"] == "failed"


@pytest.mark.parametrize("error", [REFUSED, FAULT], ids=["4xx", "bug"])
async def test_rollback_that_never_gets_to_its_send_goes_to_staff(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    verified = await clinic.verified()
    await rollbacks.request_rollback(clinic.gate, SOFIA, verified.id, reason="wrong day")
    monkeypatch.setattr(HaltStore, "in_force", failing(error))
    assert await tried(clinic, rollbacks.rollback_next, times=8) == 5
    assert await is_handed_off(clinic, verified, impasses.SAY_NOT_UNDONE)
    assert clinic.effects(verified) == 1


async def test_what_was_sent_is_handed_off_only_after_reading_had_its_time(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved = await clinic.approved()
    monkeypatch.setattr(commits, "send_attempt", failing(FAULT))
    monkeypatch.setattr(commits, "find_effect", failing(FAULT))
    assert await tried(clinic, commits.commit_next, times=4) == 4
    assert (await clinic.get(approved)).status is Status.COMMITTING
    await tried(clinic, commits.commit_next, times=3)
    assert await is_handed_off(clinic, approved, impasses.SAY_CANNOT_TELL)
    (attempt,) = await ProposalStore(clinic.database).attempts(approved.id, "commit")
    assert attempt.verdict == "cannot-tell"


async def test_what_was_just_sent_stays_with_the_worker_however_often_it_failed(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved = await clinic.approved()
    monkeypatch.setattr(commits, "look", failing(SourceUnreachable("down")))
    await tried(clinic, commits.commit_next, times=9)
    monkeypatch.undo()
    monkeypatch.setattr(commits, "send_attempt", failing(FAULT))
    with pytest.raises(ZeroDivisionError):
        await commits.commit_next(clinic.gate, "w1")
    assert (await clinic.get(approved)).status is Status.COMMITTING
