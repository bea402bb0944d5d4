"""The part of the conformance kit that every sink must pass, whatever it speaks.

What a sink promises is judged by the system's own account of what was done to it, never by what
the sink says. A system that can be read as well has more to pass: see conformance.py.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from chartgate.errors import (
    ChartgateError,
    InvalidTransition,
    OutcomeUnknown,
    SourceUnreachable,
    Throttled,
    WriteRefused,
)
from chartgate.model.ports import LastLook, Messenger, Sink
from chartgate.model.write import Receipt, Write

Trouble = Callable[[], AbstractAsyncContextManager[None]]

__all__ = ["SINK_CHECKS", "SinkCheck", "SinkTarget"]


@dataclass(frozen=True, kw_only=True)
class SinkTarget:
    """What is checked: an open sink whose writes are on, and the system behind it.

    `make` gives a write, ready to be sent, that creates something new; `undo` makes a compensation
    ready to be sent, `applied` is how often the system did what a write says, `stands` whether
    what it made is there. While a trouble lasts the system answers so (`refusals`, `too_much`), is
    not there (`away`), or loses one answer or one request.
    """

    sink: Sink
    make: Callable[[], Awaitable[Write]]
    undo: Callable[[Write], Awaitable[Write]]
    applied: Callable[[Write], int]
    stands: Callable[[Write], bool]
    refusals: Trouble
    away: Trouble
    lost_answers: Trouble
    lost_requests: Trouble
    too_much: Trouble | None = None

    async def settle(self, write: Write, last_look: LastLook) -> Receipt | None:
        """What became of a write, as a worker finds out."""
        if isinstance(self.sink, Messenger):
            return await self.sink.settle(write, last_look=last_look)
        return await self.sink.resolve(write)

    async def undoing(self, write: Write, receipt: Receipt) -> Write:
        """The compensation, ready to be sent."""
        return await self.undo(await self.sink.compensation(write, receipt, ()))


@dataclass(frozen=True)
class SinkCheck:
    """One promise. `run` raises AssertionError if the target breaks it."""

    name: str
    promise: str
    run: Callable[[SinkTarget], Awaitable[None]]


class _Looks:
    """A last look that counts, and refuses if it is told to."""

    def __init__(self, *, refusing: bool = False) -> None:
        self.count = 0
        self._refusing = refusing

    async def __call__(self) -> None:
        self.count += 1
        if self._refusing:
            raise InvalidTransition("halted")


async def _write_is_applied_once(target: SinkTarget) -> None:
    write, looks = await target.make(), _Looks()
    receipt = await target.sink.commit(write, last_look=looks)
    assert len(receipt.effects) == len(write.changes), "not one effect for each change"
    assert target.applied(write) == 1, f"applied {target.applied(write)} times"
    assert target.stands(write), "what was made is not there under its marker"
    assert looks.count == 1, f"{looks.count} last looks for one request"
    assert not receipt.resolved, "an answer that came is said to be found out"


async def _same_write_again_changes_nothing(target: SinkTarget) -> None:
    write = await target.make()
    first, second = await target.sink.commit(write), await target.sink.commit(write)
    assert first.effects == second.effects, "the second time it has another receipt"
    assert target.applied(write) == 1, f"applied {target.applied(write)} times"


async def _writes_do_not_meet(target: SinkTarget) -> None:
    one, other = await target.make(), await target.make()
    await target.sink.commit(one)
    assert not target.stands(other), "another write's marker is found"
    await target.sink.commit(other)
    assert (target.applied(one), target.applied(other)) == (1, 1), "writes were mixed up"


async def _refusal_is_told_and_nothing_is_done(target: SinkTarget) -> None:
    write = await target.make()
    said = ""
    async with target.refusals():
        try:
            await target.sink.commit(write)
        except WriteRefused as error:
            said = str(error)
    assert said, "a refusal became a receipt"
    assert "nothing was written" in said, "the sentence does not say what that means"
    assert target.applied(write) == 0, "what was refused was done"


async def _system_that_is_away_is_sent_nothing(target: SinkTarget) -> None:
    write = await target.make()
    async with target.away():
        await _must_not_be_sent(target, write)
    await target.sink.commit(write)
    assert target.applied(write) == 1, "it was not done once the system was back"


async def _system_that_has_too_much_is_sent_nothing(target: SinkTarget) -> None:
    if target.too_much is None:
        return
    write = await target.make()
    async with target.too_much():
        await _must_not_be_sent(target, write)
    assert target.applied(write) == 0, "it was done although the system said no"


async def _refused_last_look_sends_nothing(target: SinkTarget) -> None:
    write = await target.make()
    try:
        await target.sink.commit(write, last_look=_Looks(refusing=True))
    except InvalidTransition:
        assert target.applied(write) == 0, "it was written all the same"
    else:
        raise AssertionError("the last look was not taken, or not heeded")


async def _lost_answer_is_told_and_found_out(target: SinkTarget) -> None:
    write = await target.make()
    async with target.lost_answers():
        await _must_be_unknown(target, write)
    receipt = await target.settle(write, _Looks())
    assert receipt is not None, "an applied write was not found"
    assert receipt.resolved, "a receipt that was found out does not say so"
    assert len(receipt.effects) == len(write.changes), "not one effect for each change"
    assert target.applied(write) == 1, f"applied {target.applied(write)} times"


async def _lost_request_is_never_done_twice(target: SinkTarget) -> None:
    write = await target.make()
    async with target.lost_requests():
        await _must_be_unknown(target, write)
    receipt = await target.settle(write, _Looks())
    assert target.applied(write) == int(receipt is not None), "the verdict is wrong"
    if receipt is None:
        await target.sink.commit(write)
    assert target.applied(write) == 1, f"applied {target.applied(write)} times"


async def _finding_out_under_a_halt_sends_nothing(target: SinkTarget) -> None:
    write = await target.make()
    async with target.lost_requests():
        await _must_be_unknown(target, write)
    looks = _Looks(refusing=True)
    try:
        receipt = await target.settle(write, looks)
    except InvalidTransition:
        receipt = None
    assert receipt is None, "it was done although everything is halted"
    assert target.applied(write) == 0, "it was done although everything is halted"


async def _compensation_leaves_nothing_standing(target: SinkTarget) -> None:
    write = await target.make()
    receipt = await target.sink.commit(write)
    undo = await target.undoing(write, receipt)
    assert undo.marker != write.marker, "an undoing has the marker of what it undoes"
    assert target.stands(write), "the compensation sent something by itself"
    await target.sink.commit(undo)
    assert not target.stands(write), "it still stands"
    assert target.applied(write) == 1, "it was done again by its undoing"


async def _lost_answer_of_an_undoing_is_found_out(target: SinkTarget) -> None:
    write = await target.make()
    undo = await target.undoing(write, await target.sink.commit(write))
    async with target.lost_answers():
        await _must_be_unknown(target, undo)
    assert await target.settle(undo, _Looks()) is not None, "an undoing was not found"
    assert not target.stands(write), "it still stands"


async def _unconfirmed_write_shows_differences(target: SinkTarget) -> None:
    write = await target.make()
    receipt = await target.sink.commit(write)
    found = target.sink.differences(write, replace(receipt, said=""), ())
    assert found, "a write that nothing confirms shows no differences"


async def _must_be_unknown(target: SinkTarget, write: Write) -> None:
    try:
        await target.sink.commit(write)
    except OutcomeUnknown:
        return
    except ChartgateError as error:
        raise AssertionError(f"what was lost became {type(error).__name__}") from None
    raise AssertionError("an answer that was lost became a receipt")


async def _must_not_be_sent(target: SinkTarget, write: Write) -> None:
    try:
        await target.sink.commit(write)
    except (SourceUnreachable, Throttled):
        return
    except ChartgateError as error:
        raise AssertionError(f"nothing was sent, and it became {type(error).__name__}") from None
    raise AssertionError("a system that takes nothing gave a receipt")


def _check(run: Callable[[SinkTarget], Awaitable[None]]) -> SinkCheck:
    name = run.__name__.removeprefix("_")
    return SinkCheck(name, name.replace("_", " "), run)


SINK_CHECKS: tuple[SinkCheck, ...] = tuple(
    _check(run)
    for run in (
        _write_is_applied_once,
        _same_write_again_changes_nothing,
        _writes_do_not_meet,
        _refusal_is_told_and_nothing_is_done,
        _system_that_is_away_is_sent_nothing,
        _system_that_has_too_much_is_sent_nothing,
        _refused_last_look_sends_nothing,
        _lost_answer_is_told_and_found_out,
        _lost_request_is_never_done_twice,
        _finding_out_under_a_halt_sends_nothing,
        _compensation_leaves_nothing_standing,
        _lost_answer_of_an_undoing_is_found_out,
        _unconfirmed_write_shows_differences,
    )
)
