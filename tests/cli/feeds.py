"""Messages in the store that a test's commands look at."""

from pathlib import Path

from chartgate.cli.session import with_store
from chartgate.config import load_config
from chartgate.flows import events, intake
from chartgate.gate import Gate
from chartgate.model.message import Received
from chartgate.testing.messages import adt

FEED = "north-adt"


def wrong(control_id: str, mrn: str) -> bytes:
    """A message whose PID-7 names no day."""
    return adt("A08", control_id, mrn=mrn).replace(b"19800102", b"19801399")


def send(folder: Path, *raws: bytes, flaw: str = "", process: bool = True) -> None:
    """Takes messages in over `north-adt` and, unless told otherwise, processes all there are."""

    async def act(gate: Gate) -> None:
        batch = [Received(connection=FEED, raw=raw, flaw=flaw) for raw in raws]
        await intake.accept(gate, batch)
        while process and await events.process_next(gate):
            pass

    with_store(load_config(folder / "chartgate.toml"), act)
