"""Every sink passes the kit of all sinks, and one that breaks a promise does not."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chartgate.model.ports import LastLook
from chartgate.model.write import Receipt, Write
from chartgate.testing.conformance_sinks import SINK_CHECKS, SinkCheck, SinkTarget
from tests.testing.sinks import fhir_target, message_target

Open = Callable[[Path], AbstractAsyncContextManager[SinkTarget]]
SINKS: dict[str, Open] = {
    "fhir_r4": fhir_target,
    "hl7v2 SIU": message_target,
    "hl7v2 SIU, enhanced": partial(message_target, ack_mode="enhanced"),
    "hl7v2 OML": partial(message_target, message="OML"),
    "hl7v2 MDM": partial(message_target, message="MDM"),
    "hl7v2 ORU": partial(message_target, message="ORU"),
}


@pytest.mark.parametrize("check", SINK_CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("name", SINKS)
async def test_sink_keeps_its_promises(name: str, check: SinkCheck, tmp_path: Path) -> None:
    async with SINKS[name](tmp_path) as target:
        await check.run(target)


class Careless:
    """A sink with a fault of its own, over the real one."""

    def __init__(self, sink: Any, fault: str) -> None:
        self._sink, self._fault = sink, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)

    async def commit(self, write: Write, *, last_look: LastLook | None = None) -> Receipt:
        if self._fault == "no last look":
            last_look = None
        receipt: Receipt = await self._sink.commit(write, last_look=last_look)
        return receipt

    async def settle(self, write: Write, *, last_look: LastLook) -> Receipt | None:
        if self._fault == "never finds out":
            return None

        async def unlooked() -> None:
            """Whatever is halted."""

        look = unlooked if self._fault == "sends in a halt" else last_look
        found: Receipt | None = await self._sink.settle(write, last_look=look)
        return found

    def differences(self, *arguments: Any) -> list[str]:
        if self._fault == "sees nothing":
            return []
        found: list[str] = self._sink.differences(*arguments)
        return found


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        ("no last look", "refused_last_look_sends_nothing"),
        ("never finds out", "lost_answer_is_told_and_found_out"),
        ("sends in a halt", "finding_out_under_a_halt_sends_nothing"),
        ("sees nothing", "unconfirmed_write_shows_differences"),
    ],
)
async def test_kit_finds_out_a_careless_sink(fault: str, broken: str, tmp_path: Path) -> None:
    check = next(check for check in SINK_CHECKS if check.name == broken)
    async with message_target(tmp_path) as target:
        careless = SinkTarget(**{**vars(target), "sink": Careless(target.sink, fault)})
        with pytest.raises(AssertionError):
            await check.run(careless)


async def test_kit_finds_out_a_receiver_that_forgets(tmp_path: Path) -> None:
    """`recognises_duplicates` of a system that does not would be a lie: the kit tells."""
    check = next(c for c in SINK_CHECKS if c.name == "lost_answer_is_told_and_found_out")
    async with message_target(tmp_path, forgets=True) as target:
        with pytest.raises(AssertionError, match="applied 2 times"):
            await check.run(target)
