"""Sinks to check, each with the system behind it: the sample hospital, and the sample receiver."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from chartgate.adapters.egress import address_rules
from chartgate.adapters.fhir_r4 import adapter as fhir
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.adapters.hl7v2_mllp import adapter as mllp
from chartgate.config import Config, ConnectionConfig
from chartgate.demo.hospital import running_hospital
from chartgate.demo.receiver import MessageReceiver, running_receiver
from chartgate.model.ports import Sink
from chartgate.model.write import Change, Write, marks_of
from chartgate.testing.builders import task
from chartgate.testing.clock import FakeClock
from chartgate.testing.conformance_sinks import SinkTarget
from chartgate.transform.hl7v2_out.compose import compose
from chartgate.transform.hl7v2_out.subject import Told
from tests.transform.hl7v2_out.told import NAMED, SETTINGS, appointment, note, observation, order

OPTIONS = {
    "send_host": "127.0.0.1",
    "ack_timeout_s": 0.3,
    "application_timeout_s": 0.3,
    "recognises_duplicates": True,
}
MADE = {"SIU": appointment, "OML": order, "MDM": note, "ORU": observation}


class Road:
    """What lies between us and a system: it can be closed, and then nothing comes through."""

    def __init__(self, port: int) -> None:
        self._to, self.port = port, 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._ended: set[asyncio.Event] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        for ended in tuple(self._ended):
            await ended.wait()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        await self.close()
        yield
        await self.open()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = asyncio.Event()
        self._ended.add(ended)
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, back}

        async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while chunk := await source.read(65_536):
                    to.write(chunk)
            to.transport.abort()
            with suppress(OSError):
                await to.wait_closed()

        await asyncio.gather(pump(reader, back), pump(there, writer))
        self._writers -= {writer, back}
        self._ended.discard(ended)
        ended.set()


@asynccontextmanager
async def fhir_target(folder: Path) -> AsyncIterator[SinkTarget]:
    """The FHIR sink on the sample hospital."""
    async with AsyncExitStack() as stack:
        hospital = await stack.enter_async_context(running_hospital())
        road = Road(int(hospital.fhir_url.rsplit(":", 1)[1].partition("/")[0]))
        await road.open()
        stack.push_async_callback(road.close)
        base = hospital.fhir_url.rsplit(":", 1)[1].partition("/")[2]
        options = {
            "url": f"http://127.0.0.1:{road.port}/{base}",
            "dialect": "sample-hospital",
            "retries": 0,
            "breaker_failures": 1000,
        }
        sink = await stack.enter_async_context(
            fhir.open_adapter(
                ConnectionConfig(name="ehr", adapter="fhir_r4", options=options),
                folder=folder,
                clock=lambda: datetime.now(tz=UTC),
                verdicts={line: (True, "test") for line in PROBED},
                egress=address_rules(Config(folder=folder)),
            )
        )

        def fault(name: str, value: Any) -> Callable[[], AbstractAsyncContextManager[None]]:
            @asynccontextmanager
            async def lasting() -> AsyncIterator[None]:
                writes = ("create", "update", "patch")
                hospital.faults.switch(name, value, interactions=writes, times=1)
                yield
                hospital.faults.clear(name)

            return lasting

        async def make() -> Write:
            resource = task()
            change = Change(interaction="create", resource_type="Task", resource=resource)
            return Write(marker=f"conformance-{uuid4()}", changes=(change,))

        async def ready(undo: Write) -> Write:
            return undo

        def stands(write: Write) -> bool:
            made = hospital.journal.effects_of(write.marker, interaction="create")
            now = [hospital.resource(effect.reference) for effect in made]
            return bool(now) and now[0]["status"] != "entered-in-error"

        @asynccontextmanager
        async def refusals() -> AsyncIterator[None]:
            hospital.faults.switch("unauthorised", True)
            yield
            hospital.faults.clear("unauthorised")

        yield SinkTarget(
            sink=sink,
            make=make,
            undo=ready,
            applied=lambda w: len(hospital.journal.effects_of(w.marker, interaction="create")),
            stands=stands,
            refusals=refusals,
            away=road.closed,
            lost_answers=fault("reset_after_applying", True),
            lost_requests=fault("down", "reset"),
            too_much=fault("throttle", {"retry_after_s": 1}),
        )


@asynccontextmanager
async def message_target(
    folder: Path, *, message: str = "SIU", forgets: bool = False, **options: Any
) -> AsyncIterator[SinkTarget]:
    """The sink of HL7 v2 on the sample receiver."""
    clock = FakeClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
    async with running_receiver(MessageReceiver(clock=clock, recognises=not forgets)) as receiver:
        road = Road(receiver.port)
        await road.open()
        try:
            async with opened(folder, clock, road.port, **options) as sink:
                yield _on(receiver, road, sink, clock, message, **options)
        finally:
            await road.close()


@asynccontextmanager
async def opened(
    folder: Path, clock: FakeClock, port: int, **options: Any
) -> AsyncIterator[mllp.MllpFeed]:
    """The adapter with a destination at a port."""
    connection = ConnectionConfig(
        name="north-v2",
        adapter="hl7v2_mllp",
        site="north-clinic",
        options={**OPTIONS, "send_port": port, **options},
    )
    async with mllp.open_adapter(
        connection,
        folder=folder,
        clock=clock,
        verdicts={},
        egress=address_rules(Config(folder=folder)),
    ) as sink:
        yield sink


def _on(
    receiver: MessageReceiver,
    road: Road,
    sink: Sink,
    clock: FakeClock,
    message: str,
    **options: Any,
) -> SinkTarget:
    def fault(name: str) -> Callable[[], AbstractAsyncContextManager[None]]:
        @asynccontextmanager
        async def lasting() -> AsyncIterator[None]:
            receiver.faults.append(name)
            yield
            receiver.faults.clear()

        return lasting

    async def make() -> Write:
        resource = MADE[message]()
        change = Change(
            interaction="create", resource_type=resource["resourceType"], resource=resource
        )
        return await told(Write(marker=str(uuid4()), changes=(change,)))

    async def told(write: Write) -> Write:
        clock.advance(1)
        return with_message(write, clock(), enhanced=options.get("ack_mode") == "enhanced")

    return SinkTarget(
        sink=sink,
        make=make,
        undo=told,
        applied=lambda write: sum(
            not one.called_off for one in receiver.applied(marks_of(write)[0])
        ),
        stands=lambda write: receiver.stands(marks_of(write)[0]),
        refusals=fault("refuse"),
        away=road.closed,
        lost_answers=fault("lose_answer"),
        lost_requests=fault("lose_message"),
    )


def with_message(write: Write, at: datetime, *, enhanced: bool = False) -> Write:
    """As a worker makes the message, without a gate."""
    changes = [
        Told(kind="create", after=change.resource, marker=mark)
        if change.interaction == "create"
        else Told(kind="undo", before=change.resource, marker=mark)
        for change, mark in zip(write.changes, marks_of(write), strict=True)
    ]
    settings = replace(SETTINGS, enhanced=enhanced)
    message = compose(changes, NAMED, settings, marker=write.marker, at=at)
    return replace(write, through="north-v2", message=message)
