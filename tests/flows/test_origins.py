"""Where a version comes from can be told from what the record keeps."""

from pathlib import Path

import pytest

from chartgate.errors import NotFound
from chartgate.flows import events, intake, origins
from chartgate.formats.r4_structure import is_well_formed
from chartgate.gate import Gate
from chartgate.model.message import Received
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt
from chartgate.transform.hl7v2.provenance import ROWS
from tests.flows.feeds import FEED, feed_gate


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Gate:
    return feed_gate(database, clock, tmp_path, id_from="identifier")


async def test_version_is_traced_to_its_message_segment_and_rows(gate: Gate) -> None:
    raws = [adt("A01", "1", mrn="p1"), adt("A08", "2", mrn="p1").replace(b"Example", b"Changed")]
    for raw in raws:
        await intake.accept(gate, [Received(connection=FEED, raw=raw)])
        await events.process_next(gate)
    found = await origins.provenance(gate, FEED, "Patient/p1")
    assert is_well_formed(found)
    [target] = found["target"]
    assert target["reference"] == "Patient/p1"
    [extension] = target["extension"]
    assert extension["url"] == ROWS
    assert extension["valueString"].startswith("3 PID.Patient 3,5,7,8")
    [entity] = [e for e in found["entity"] if e["role"] == "source" and "identifier" in e["what"]][
        :1
    ]
    assert entity["what"]["display"] == "2"  # the message that made this version, not the first


async def test_what_no_message_made_has_no_origin(gate: Gate) -> None:
    with pytest.raises(NotFound, match="holds no Patient/p9"):
        await origins.provenance(gate, FEED, "Patient/p9")
