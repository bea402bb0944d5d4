"""The sample receiver: what it does once, and how it fails."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from chartgate.demo.receiver import FAULTS, MessageReceiver, running_receiver
from chartgate.formats.hl7v2_answer import read_answer
from chartgate.formats.mllp import frame
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt
from tests.flows.sockets import Sender, sender_to
from tests.transform.hl7v2_out.told import MARKER, appointment, create, note, undo, wire

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@asynccontextmanager
async def there(**settings: object) -> AsyncIterator[tuple[MessageReceiver, Sender]]:
    receiver = MessageReceiver(clock=FakeClock(AT), **settings)  # type: ignore[arg-type]
    async with running_receiver(receiver), sender_to(receiver.port) as sender:
        yield receiver, sender


@pytest.mark.parametrize("made", [appointment(), note()])
async def test_what_is_made_stands_until_it_is_called_off(made: dict[str, object]) -> None:
    async with there() as (receiver, sender):
        assert await sender.ask(wire(create(made)).raw) == "AA"
        assert receiver.stands(MARKER)
        second = wire(undo(made)).raw.replace(wire(undo(made)).control_id.encode(), b"OTHER")
        assert await sender.ask(second) == "AA"
        assert not receiver.stands(MARKER)
        assert [one.called_off for one in receiver.applied(MARKER)] == [False, True]


@pytest.mark.parametrize("recognises", [True, False])
async def test_same_control_id_changes_nothing_unless_it_forgets(recognises: bool) -> None:
    raw = wire(create(appointment())).raw
    async with there(recognises=recognises) as (receiver, sender):
        assert [await sender.ask(raw) for _ in range(3)] == ["AA"] * 3
        assert len(receiver.journal) == (1 if recognises else 3)


async def test_both_acknowledgements_are_given_where_they_are_asked_for() -> None:
    async with there() as (_, sender):
        assert await sender.ask(wire(create(appointment()), enhanced=True).raw) == "CA"
        found = read_answer(await sender.answer())
        assert found is not None
        assert found.code == "AA"


@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_acts_on_one_message_and_then_it_is_well(fault: str) -> None:
    raw = wire(create(appointment())).raw
    done = fault not in ("refuse", "reject", "lose_message", "duplicate_key")
    async with there(faults=[fault]) as (receiver, sender):
        sender.writer.write(frame(raw))
        if fault == "say_nothing":
            async with asyncio.timeout(10):
                while not receiver.journal:
                    await asyncio.sleep(0)
        else:
            await sender.answer()
        assert len(receiver.journal) == int(done)
        assert receiver.faults == []
        async with sender_to(receiver.port) as again:
            other = wire(create(note()))
            raw = other.raw.replace(other.control_id.encode(), b"OTHER")
            assert await again.ask(raw) == "AA"


async def test_what_it_does_not_know_is_rejected() -> None:
    async with there() as (receiver, sender):
        assert await sender.ask(adt("A01", "x").replace(b"ADT^A01", b"BAR^P01")) == "AR"
        assert receiver.journal == []


async def test_port_that_is_taken_is_told_by_a_sentence() -> None:
    async with there() as (receiver, _):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chartgate.demo.receiver",
            f"--port={receiver.port}",
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        assert process.returncode == 2
        assert said.decode().startswith(f"port {receiver.port} cannot be had")
