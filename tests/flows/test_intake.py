"""Intake on a real store: what is acknowledged is kept, and nothing else is."""

import asyncio
import json
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chartgate.adapters.loader import load_feeds
from chartgate.config import MllpConfig
from chartgate.errors import ConfigError
from chartgate.flows import intake
from chartgate.formats.hl7v2 import parse
from chartgate.formats.mllp import frame
from chartgate.gate import Gate
from chartgate.model.message import Received
from chartgate.store.database import Database
from chartgate.store.inbox import InboxStore
from chartgate.store.quarantine import QuarantineStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt, header, message, patient, siu
from tests.adapters.hl7v2_mllp.certificates import make_certificate
from tests.flows.feeds import FEED, accept, actions, feed_gate, quarantine
from tests.flows.sockets import Sender, serving

CORPUS = Path(__file__).parents[3] / "shared" / "corpora" / "hl7v2"


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Gate:
    return feed_gate(database, clock, tmp_path, id_from="identifier")


async def test_audit_event_of_a_batch_accounts_for_each_of_its_messages(gate: Gate) -> None:
    await accept(gate, *(adt(control_id=str(n)) for n in range(3)))
    [row] = await gate.database.fetch("SELECT body FROM audit_event WHERE tenant = $1")
    details = json.loads(row["body"])["details"]
    again = """SELECT encode(sha256(string_agg(digest, ''::bytea ORDER BY id)), 'hex'),
               min(id)::text, max(id)::text FROM inbox WHERE tenant = $1"""
    [[digests, first, last]] = await gate.database.fetch(again)
    assert details == {"count": "3", "digests": digests, "first": first, "last": last}


async def test_repeat_when_its_content_is_the_same_gets_the_stored_answer(
    gate: Gate, clock: FakeClock
) -> None:
    received = Received(connection=FEED, raw=adt(control_id="7"))
    [first] = await intake.accept(gate, [received])
    clock.advance(60)
    assert await intake.accept(gate, [received, received]) == [first, first]
    assert await InboxStore(gate.database).counts() == {"queued": 1}
    assert await actions(gate.database) == {"message.accept": 1}


@pytest.mark.parametrize("together", [True, False])
async def test_control_id_when_used_for_other_content_is_refused(
    gate: Gate, together: bool
) -> None:
    one, other = adt(control_id="7"), adt(control_id="7", mrn="2002")
    if together:
        assert await accept(gate, one, other) == ["AA", "AE"]
    else:
        assert await accept(gate, one) + await accept(gate, other) == ["AA", "AE"]
    assert await quarantine(gate) == [("control-id collision", "MSH-10", 1)]
    assert await InboxStore(gate.database).counts() == {"queued": 1}


def mangled(**changes: str) -> bytes:
    """An ADT whose header has these fields replaced, e.g. m9=""."""
    fields = header().split("|")
    for name, value in changes.items():
        fields[int(name[1:]) - 1] = value
    return message("|".join(fields), patient())


@pytest.mark.parametrize(
    ("raw", "answer", "reason_class", "position"),
    [
        (mangled(m10=""), "AR", "header", "MSH-10"),
        (mangled(m9=""), "AR", "header", "MSH-9"),
        (mangled(m11="T"), "AR", "header", "MSH-11"),
        (mangled(m12="3.0"), "AR", "header", "MSH-12"),
        (mangled(m2="ABCD"), "AE", "header", "MSH-2"),
        (mangled(m10="x" * 200), "AE", "header", "MSH-10"),
        (mangled(m3="x" * 700), "AE", "header", "MSH-3"),
        (adt() + header(control_id="9").encode(), "AE", "structure", "MSH"),
        (adt().replace(b"Ada", b"\xc3("), "AE", "charset", "MSH-18"),
        (adt().replace(b"Ada", b"\x00"), "AE", "structure", ""),
        (b"GET / HTTP/1.1", "", "header", ""),
        (b"", "", "header", ""),
    ],
    ids=range(12),
)
async def test_message_when_it_cannot_be_taken_is_refused_and_kept(
    gate: Gate, raw: bytes, answer: str, reason_class: str, position: str
) -> None:
    """Beside a good one, which is not disturbed."""
    assert await accept(gate, raw, adt(control_id="good")) == [answer, "AA"]
    assert await quarantine(gate) == [(reason_class, position, 1)]
    assert await accept(gate, raw) == [answer]
    assert await quarantine(gate) == [(reason_class, position, 2)]
    assert (await actions(gate.database))["message.quarantine"] == 2


@pytest.mark.parametrize(
    ("flaw", "answer"), [("too large", "AR"), ("truncated", ""), ("noise", "")]
)
async def test_frame_when_flawed_is_kept_and_not_taken(gate: Gate, flaw: str, answer: str) -> None:
    assert await accept(gate, adt() + b"x" * 100_000, flaw=flaw) == [answer]
    [[reason_class, _, _]] = await quarantine(gate)
    kept = (await QuarantineStore(gate.database).get(1)).raw
    assert reason_class == flaw
    assert (len(kept) <= 64 * 1024) == (flaw == "too large")


async def test_storage_when_down_is_never_a_positive_answer(gate: Gate) -> None:
    await gate.database.close()
    assert await accept(gate, adt(), b"junk", mangled(m10="")) == ["AR", "", "AR"]


async def test_zone_when_unknown_is_a_sentence(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    gate = feed_gate(database, clock, tmp_path, zone="Mars/Base")
    with pytest.raises(ConfigError, match="Mars/Base"):
        await accept(gate, adt())


async def test_feeds_of_the_config_listen_and_acknowledge(gate: Gate) -> None:
    """Over a real socket: two messages and a repeat in one go, three answers in order."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with load_feeds(gate.config, clock=gate.clock) as feeds:
        config = dict(gate.config.__dict__) | {"mllp": MllpConfig(port=0)}
        listening = asyncio.create_task(
            intake.listen(
                Gate(**{**gate.__dict__, "config": type(gate.config)(**config)}),
                feeds,
                ready=lambda _, number: port.set_result(number),
            )
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", await port)
        writer.write(frame(adt(control_id="1")) + frame(siu(control_id="2")) + frame(adt()))
        answers = [await reader.readuntil(b"\x1c\r") for _ in range(3)]
        assert [b"MSA|AA|1" in a or b"MSA|AA|2" in a for a in answers] == [True] * 3
        assert answers[0] == answers[2]
        writer.close()
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening


async def test_message_in_enhanced_mode_is_stored_with_what_it_asks_for(gate: Gate) -> None:
    """A commit acknowledgement at once where one is asked for, and the condition of the other."""
    asked = [("1", "AL", "AL"), ("2", "NE", "ER"), ("3", "", "SU"), ("4", "SU", "")]
    raws = [
        adt(control_id=n).replace(b"|P|2.5\r", f"|P|2.5|||{accept}|{application}\r".encode())
        for n, accept, application in asked
    ]
    for _ in range(2):  # a repeat is answered, or not, as the first was
        assert await accept(gate, *raws, adt(control_id="5")) == ["CA", "", "", "CA", "AA"]
    query = "SELECT control_id, application_ack FROM inbox WHERE tenant = $1 ORDER BY id"
    found = [tuple(row) for row in await gate.database.fetch(query)]
    assert found == [("1", "AL"), ("2", "ER"), ("3", "SU"), ("4", "NE"), ("5", "")]


async def test_storage_when_down_is_never_taken_for_success_in_enhanced_mode(gate: Gate) -> None:
    await gate.database.close()
    raws = [adt().replace(b"|P|2.5\r", b"|P|2.5|||%s|NE\r" % c) for c in (b"AL", b"ER", b"NE")]
    batch = [Received(connection=FEED, raw=raw) for raw in raws]
    answers = await intake.accept(gate, batch)
    assert [answer and b"MSA|CE|" in answer for answer in answers] == [True, True, b""]


async def test_batch_is_taken_in_one_commit(gate: Gate) -> None:
    raw = b"BHS|^~\\&|LAB|N|US|H|1||||B1\r" + adt(control_id="1") + adt(control_id="2") + b"BTS|2\r"
    [answer] = await intake.accept(gate, [Received(connection=FEED, raw=raw)])
    assert answer is not None
    assert answer.count(b"MSA|AA|") == 2
    assert await actions(gate.database) == {"message.accept": 1}
    assert await InboxStore(gate.database).counts() == {"queued": 2}


async def test_numbered_link_is_opened_and_audited(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    gate = feed_gate(database, clock, tmp_path, sequence=True)

    def numbered(control_id: str, number: int, trigger: str = "ADT^A01") -> bytes:
        return message(f"{header(trigger, control_id)}|{number}")

    opening = [numbered("o", 0, "^"), numbered("1", 5), numbered("2", 6), numbered("p", 0, "^")]
    batch = [Received(connection=FEED, raw=raw) for raw in opening]
    answers = [parse(answer or b"") for answer in await intake.accept(gate, batch)]
    said = [(answer.value("MSA", 1), answer.value("MSA", 4)) for answer in answers]
    assert said == [("AA", "-1"), ("AA", "5"), ("AA", "6"), ("AA", "7")]
    assert await actions(gate.database) == {"message.accept": 1, "feed.sequence": 1}


async def test_sender_that_its_certificate_does_not_stand_for_is_refused(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    """Over TLS, end to end: AR, kept as class "sender", audited; the right sender is taken."""
    clock.advance((datetime.now(UTC) - clock()).total_seconds())
    authority = make_certificate(tmp_path, "authority")
    make_certificate(tmp_path, "feed", by=authority)
    own = make_certificate(tmp_path, "adt.north", by=authority)
    gate = feed_gate(
        database,
        clock,
        tmp_path,
        tls={"cert": "feed.pem", "key": "feed.key", "client_ca": "authority.pem"},
        senders={"CN:adt.north": ["ADT1|NORTH|P"]},
    )
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(own.file, own.key_file)
    async with serving(gate) as port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
        sender = Sender(reader=reader, writer=writer)
        assert await sender.ask(adt(control_id="1")) == "AA"
        assert await sender.ask(adt(control_id="2").replace(b"|NORTH|", b"|SOUTH|", 1)) == "AR"
        assert await sender.ask(adt(control_id="3")) == "AA"
        sender.close()
    assert await quarantine(gate) == [("sender", "MSH-3", 1)]
    assert (await actions(database))["message.quarantine"] == 1
