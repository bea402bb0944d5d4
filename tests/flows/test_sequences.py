"""A numbered link that stopped goes on once a person has said how."""

from pathlib import Path

import pytest

from chartgate.errors import Invalid, NotFound
from chartgate.flows import intake, sequences
from chartgate.formats.hl7v2 import parse
from chartgate.gate import Gate
from chartgate.model.message import Received
from chartgate.model.principal import Process
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt
from tests.flows.feeds import FEED, feed_gate

SENDER = "ADT1|NORTH"
OPERATOR = Process(id="cli/test")


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Gate:
    return feed_gate(database, clock, tmp_path, sequence=True)


async def answered(gate: Gate, number: int) -> str:
    raw = adt("A08", f"c{number}").replace(b"|P|2.5", b"|P|2.5|%d" % number)
    [answer] = await intake.accept(gate, [Received(connection=FEED, raw=raw)])
    assert answer
    return parse(answer).value("MSA", 1) or ""


async def test_gap_stops_a_link_until_a_person_says_how_it_goes_on(gate: Gate) -> None:
    assert [await answered(gate, n) for n in (1, 2, 5)] == ["AA", "AA", "AE"]
    assert [link.expected for link in await sequences.links(gate)] == [3]
    await sequences.reset(gate, OPERATOR, FEED, SENDER, expected=6)
    assert [await answered(gate, n) for n in (6, 7)] == ["AA", "AA"]
    await sequences.reset(gate, OPERATOR, FEED, SENDER, expected=-1)
    assert await answered(gate, 40) == "AA"
    query = "SELECT count(*) FROM audit_event WHERE tenant = $1 AND action = 'feed.sequence-reset'"
    assert await gate.database.fetch_value(query) == 2


async def test_link_that_is_not_there_and_number_that_is_none_are_refused(gate: Gate) -> None:
    with pytest.raises(NotFound, match="there are: none"):
        await sequences.reset(gate, OPERATOR, FEED, SENDER, expected=1)
    await answered(gate, 1)
    with pytest.raises(Invalid, match="from 1 to"):
        await sequences.reset(gate, OPERATOR, FEED, SENDER, expected=0)
