"""What the simulator found, each as a scene: see seeds.py for how it was found."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chartgate.errors import ChartgateError
from chartgate.flows import commits, rollbacks
from chartgate.model.proposal import Proposal, Status
from chartgate.store.proposals import ProposalStore
from tests.simulation.play import Play
from tests.simulation.store import open_pool
from tests.simulation.world import World, later, seeded_ids

PROMPT, LATE = 1, 5  # worlds whose hospital shows its writes at once, or late
Scene = Callable[[int], Awaitable[Play]]


@pytest.fixture
async def scene(database_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    pool = await open_pool(database_url)
    opened: list[World] = []

    async def open_scene(seed: int) -> Play:
        world = World(pool, seed, tmp_path)
        assert world.lags == (seed == LATE)
        await world.open()
        opened.append(world)
        if world.lags:
            later(world.clock, 5)  # what was there before is seen
            world.app.faults.switch("stale_reads", {"seconds": 4})
        return Play(world, steps=0)

    with seeded_ids(0):
        yield open_scene
    for world in opened:
        await world.close()
    await pool.end()


async def sent_twice(play: Play, made: Any) -> Proposal:
    """Approved, and its write is sent again by somebody on the way: the first is applied."""
    proposal = await play.submitted(made)
    await play.reviewed(proposal, "approve")
    weather = play.world.session.weather
    weather.writes, weather.kinds = 1.0, ("twice",)
    with suppress(ChartgateError):
        await commits.commit_next(play.gate, "w1")
    return proposal


async def rested(play: Play, proposal: Proposal) -> Proposal:
    """Calm, until nothing is left to do, and the invariants."""
    await play.calm()
    await play.checker.at_rest()
    assert play.checker.broken == []
    return await ProposalStore(play.gate.database).get(proposal.id)


async def test_a_patch_sent_twice_is_not_called_unwritten(scene: Scene) -> None:
    play = await scene(PROMPT)
    proposal = await rested(play, await sent_twice(play, play.task()))
    assert proposal.status is Status.HANDED_OFF, "a person looks whose change it is"
    assert "could not be found out" in (proposal.reason or "")


async def test_a_rollback_sent_twice_is_not_called_undone_by_nobody(scene: Scene) -> None:
    play = await scene(PROMPT)
    proposal = await play.submitted(play.task())
    await play.reviewed(proposal, "approve")
    assert await commits.commit_next(play.gate, "w1")
    await rollbacks.request_rollback(play.gate, play.reviewer(proposal), proposal.id, reason="x")
    weather = play.world.session.weather
    weather.writes, weather.kinds = 1.0, ("twice",)
    assert await rollbacks.rollback_next(play.gate, "w1")
    assert (await rested(play, proposal)).status is Status.HANDED_OFF


@pytest.mark.parametrize("what", ["booking", "note"])
async def test_what_bears_a_mark_is_found_although_it_was_sent_twice(
    what: str, scene: Scene
) -> None:
    play = await scene(PROMPT)
    proposal = await rested(play, await sent_twice(play, getattr(play, what)()))
    assert proposal.status is Status.VERIFIED


@pytest.mark.parametrize("what", ["booking", "note", "task"])
async def test_what_is_seen_late_is_not_called_missing(what: str, scene: Scene) -> None:
    play = await scene(LATE)
    await rested(play, await sent_twice(play, getattr(play, what)()))


@pytest.mark.parametrize("what", ["booking", "note", "task"])
async def test_what_is_seen_late_is_no_mismatch(what: str, scene: Scene) -> None:
    play = await scene(LATE)
    proposal = await play.submitted(getattr(play, what)())
    await play.reviewed(proposal, "approve")
    assert await commits.commit_next(play.gate, "w1")
    assert (await rested(play, proposal)).status is Status.VERIFIED


@pytest.mark.parametrize("what", ["booking", "note", "task"])
async def test_what_never_arrived_may_still_come_and_nobody_is_told_that_it_cannot(
    what: str, scene: Scene
) -> None:
    """Each request is held up on its way until Chartgate gives up; then the first one arrives."""
    play = await scene(PROMPT)
    proposal = await play.submitted(getattr(play, what)())
    await play.reviewed(proposal, "approve")
    await gives_up(play, commits.commit_next, proposal)
    assert len(play.world.session.held) == play.gate.config.worker.attempts_max
    proposal = await rested(play, proposal)  # which lets all of them arrive
    assert proposal.status is Status.HANDED_OFF
    assert "may still come late" in (proposal.reason or "")
    assert sum(bool(s.effects) for s in play.world.session.sent) == 1


async def test_a_rollback_that_never_arrived_may_still_come(scene: Scene) -> None:
    play = await scene(PROMPT)
    proposal = await play.submitted(play.task())
    await play.reviewed(proposal, "approve")
    assert await commits.commit_next(play.gate, "w1")
    await rollbacks.request_rollback(play.gate, play.reviewer(proposal), proposal.id, reason="x")
    await gives_up(play, rollbacks.rollback_next, proposal)
    proposal = await rested(play, proposal)
    assert proposal.status is Status.HANDED_OFF
    assert "may still come late" in (proposal.reason or "")


async def gives_up(play: Play, turn: Callable[..., Awaitable[bool]], proposal: Proposal) -> None:
    """Everything that is sent is held up, until there is nothing more to send."""
    weather = play.world.session.weather
    weather.writes, weather.kinds = 1.0, ("held",)
    for _ in range(60):
        with suppress(ChartgateError):
            await turn(play.gate, "w1")
        later(play.world.clock, 20)
        found = await ProposalStore(play.gate.database).get(proposal.id)
        if found.status in (Status.HANDED_OFF, Status.VERIFIED):
            return
    raise AssertionError("it never gave up")


async def test_what_came_late_and_was_edited_away_is_not_written_again(scene: Scene) -> None:
    """It went back to be tried again; meanwhile it arrived, and somebody put the task back, so that
    every guard holds again."""
    play = await scene(PROMPT)
    world = play.world
    proposal = await play.submitted(play.task())
    await play.reviewed(proposal, "approve")
    world.session.weather.writes, world.session.weather.kinds = 1.0, ("held",)
    while not world.session.held or await status_of(play, proposal) is not Status.APPROVED:
        with suppress(ChartgateError):
            await commits.commit_next(play.gate, "w1")
        later(world.clock, 10)
    world.session.weather.writes = 0.0
    (came,) = world.session.held
    world.session.held.clear()
    before = world.resource("Task/auth-1")
    await world.session.arrive(came)
    assert came.effects
    world.app.control.edit({**before, "description": "put back by the desk"})
    proposal = await rested(play, proposal)
    assert proposal.status is Status.VERIFIED
    assert [bool(sent.effects) for sent in world.session.sent] == [True]
    assert world.resource("Task/auth-1")["description"] == "put back by the desk"


async def status_of(play: Play, proposal: Proposal) -> Status:
    return (await ProposalStore(play.gate.database).get(proposal.id)).status
