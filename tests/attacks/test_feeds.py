"""Attacks over HL7 v2: who sends, what is sent twice, what never ends, and what only looks right.

A feed answers with a code where a request gets a status; the rest of the contract is the same:
nothing of it reaches the record or a system of record, one audit event, one count, no canary.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.flows import events, intake
from chartgate.formats.mllp import frame
from chartgate.gate import Gate
from chartgate.model.message import Received
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt, header, message, patient
from tests.adapters.hl7v2_mllp.certificates import make_certificate
from tests.attacks.contract import CANARY
from tests.attacks.contract import refused as refused_request
from tests.flows.feeds import FEED, feed_gate
from tests.flows.sockets import CLOSED, Sender, sender_to, serving


@pytest.fixture(scope="module")
async def gate(attacked: Database, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A gate with one feed and no system of record: whatever asked one would raise."""
    folder = tmp_path_factory.mktemp("feeds")
    return feed_gate(attacked, FakeClock(), folder, id_from="identifier")


@pytest.fixture(scope="module")
async def port(gate: Gate) -> AsyncIterator[int]:
    async with serving(gate, idle_timeout_s=0.5, message_bytes_max=200_000) as opened:
        yield opened


async def standing(gate: Gate) -> tuple[int, int, int]:
    """Versions of the record, queued messages, the last audit event."""
    database = gate.database
    return (
        await database.fetch_value("SELECT count(*) FROM record_version WHERE tenant = $1"),
        await database.fetch_value("SELECT count(*) FROM inbox WHERE tenant = $1"),
        await database.fetch_value(
            "SELECT coalesce(max(id), 0) FROM audit_event WHERE tenant = $1"
        ),
    )


async def refused(
    gate: Gate, raw: bytes, answer: str, *, flaw: str = "", events_max: int = 1
) -> dict[str, Any]:
    """Hands one message over and checks the contract; gives the audit event."""
    versions, queued, last = await standing(gate)
    counted = gate.database.refusals.counts.total()
    [said] = await intake.accept(gate, [Received(connection=FEED, raw=raw, flaw=flaw)])
    code = said.split(b"MSA|")[1][:2].decode() if said else ""
    assert code == answer, said
    assert CANARY.encode() not in (said or b"")
    after = await standing(gate)
    assert after[:2] == (versions, queued), "it got in"
    rows = await gate.database.fetch(
        "SELECT body FROM audit_event WHERE tenant = $1 AND id > $2 ORDER BY id", last
    )
    found: list[dict[str, Any]] = [orjson.loads(row["body"]) for row in rows]
    assert len(found) == events_max == 1, found
    [event] = found
    assert (event["action"], event["outcome"]) == ("message.quarantine", "failed")
    assert event["reason"]
    assert CANARY not in orjson.dumps(event).decode()
    assert gate.database.refusals.counts.total() == counted + 1
    return event


async def test_H_01_cleartext_unknown_certificate_and_a_sender_it_does_not_stand_for(
    attacked: Database, tmp_path: Path
) -> None:
    clock = FakeClock()
    clock.advance((datetime.now(UTC) - clock()).total_seconds())
    authority = make_certificate(tmp_path, "authority")
    make_certificate(tmp_path, "feed", by=authority)
    own = make_certificate(tmp_path, "adt.north", by=authority)
    stranger = make_certificate(tmp_path, "stranger")
    guarded = feed_gate(
        attacked,
        clock,
        tmp_path,
        tls={"cert": "feed.pem", "key": "feed.key", "client_ca": "authority.pem"},
        senders={"CN:adt.north": ["ADT1|NORTH|P"]},
    )
    async with serving(guarded) as opened:
        before = await standing(guarded)
        async with sender_to(opened) as plain:
            assert await plain.send(frame(adt()), hang_up=True) == [CLOSED]
        for identity in (stranger, None):
            context = ssl.create_default_context(cafile=authority.file)
            if identity is not None:
                context.load_cert_chain(identity.file, identity.key_file)
            assert await said_over_tls(opened, context) == ""
        assert await standing(guarded) == before
        context = ssl.create_default_context(cafile=authority.file)
        context.load_cert_chain(own.file, own.key_file)
        counted = guarded.database.refusals.counts.total()
        spoofed = adt(control_id="spoof").replace(b"|NORTH|", b"|SOUTH|", 1)
        assert await said_over_tls(opened, context, spoofed) == "AR"
        assert guarded.database.refusals.counts.total() == counted + 1


async def said_over_tls(port: int, context: ssl.SSLContext, raw: bytes = b"") -> str:
    """MSA-1; "" where the connection ends without one."""
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
    except (ssl.SSLError, ConnectionError):
        return ""
    try:
        return await Sender(reader=reader, writer=writer).ask(raw or adt(control_id="tls"))
    except (ssl.SSLError, ConnectionError, ValueError):
        return ""
    finally:
        writer.close()
        with suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()


async def test_H_02_lab_value_that_somebody_else_sends(attacked: Database, tmp_path: Path) -> None:
    """A result in the name of the laboratory, over the certificate of the admission desk."""
    authority = make_certificate(tmp_path, "authority")
    make_certificate(tmp_path, "feed", by=authority)
    own = make_certificate(tmp_path, "adt.north", by=authority)
    clock = FakeClock()
    clock.advance((datetime.now(UTC) - clock()).total_seconds())
    guarded = feed_gate(
        attacked,
        clock,
        tmp_path,
        tls={"cert": "feed.pem", "key": "feed.key", "client_ca": "authority.pem"},
        senders={"CN:adt.north": ["ADT1|NORTH|P"]},
    )
    result = message(
        "MSH|^~\\&|LAB|NORTH|CHARTGATE|NORTH|20240102030405||ORU^R01|oru1|P|2.5",
        patient(family=CANARY),
        "OBR|1|||K^Potassium^L",
        "OBX|1|NM|K^Potassium^L||9.9|mmol/L|||||F",
    )
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(own.file, own.key_file)
    async with serving(guarded) as opened:
        before = await standing(guarded)
        assert await said_over_tls(opened, context, result) == "AR"
        assert (await standing(guarded))[:2] == before[:2]


async def test_H_03_replayed_days_later(gate: Gate) -> None:
    """The stored answer, and nothing else happens."""
    raw = adt(control_id="H03", mrn="h03")
    [first] = await intake.accept(gate, [Received(connection=FEED, raw=raw)])
    while await events.process_next(gate, "w1"):
        pass
    before = await standing(gate)
    clock = gate.clock
    assert isinstance(clock, FakeClock)
    clock.advance(3 * 86_400)
    again = await intake.accept(gate, [Received(connection=FEED, raw=raw)] * 5)
    assert again == [first] * 5
    while await events.process_next(gate, "w1"):
        pass
    assert (await standing(gate))[:2] == before[:2]


async def test_H_04_same_control_id_other_body(gate: Gate) -> None:
    await intake.accept(gate, [Received(connection=FEED, raw=adt(control_id="H04"))])
    changed = adt(control_id="H04", mrn=CANARY)
    await refused(gate, changed, "AE")


BEGINNINGS = (b"\x0b", b"\x0bMSH|^~\\&|", b"\x0b" + adt()[:50], b"\x0b" + adt() + b"\x1c")


@pytest.mark.parametrize("beginning", BEGINNINGS, ids=range(4))
async def test_H_07_frame_that_does_not_end(port: int, beginning: bytes) -> None:
    """It is not waited for for ever, and meanwhile others are answered."""
    async with sender_to(port) as slow, sender_to(port) as other:
        slow.writer.write(beginning)
        code = await other.ask(adt(control_id=f"H07-{len(beginning)}"))
        assert code in ("AA", "AE")
        assert (await slow.send())[-1:] in ([CLOSED], ["AA"], ["AE"])


async def test_H_07_one_byte_at_a_time(port: int) -> None:
    """The time runs from the beginning of the frame, not from its last byte."""
    async with sender_to(port) as slow, asyncio.timeout(20):
        slow.writer.write(b"\x0bMSH|")
        ended = asyncio.create_task(slow.reader.read(1))
        while not ended.done():
            slow.writer.write(b"x")
            await asyncio.wait([ended], timeout=0.05)
        assert ended.exception() or ended.result() == b""


async def test_H_07_many_connections(gate: Gate) -> None:
    """Beyond the limit new ones are closed; those that stand are answered."""
    limits = {"connections_max": 8, "connections_per_peer_max": 8}
    async with serving(gate, **limits) as opened, sender_to(opened) as first:
        assert await first.ask(adt(control_id="H07-many")) == "AA"
        crowd = [await asyncio.open_connection("127.0.0.1", opened) for _ in range(40)]
        assert await first.ask(adt(control_id="H07-many-2")) == "AA"
        heard = await asyncio.gather(*(is_closed(reader) for reader, _ in crowd))
        assert sum(heard) == 40 - 7
        for _, writer in crowd:
            writer.close()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Within a second. One that stands says nothing until it is asked."""
    try:
        async with asyncio.timeout(1):
            return await reader.read(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


async def test_H_08_frame_over_the_limit(gate: Gate) -> None:
    """What is kept of it is its beginning."""
    large = adt(control_id="H08") + b"NTE|1||" + b"x" * 17 * 1024 * 1024
    await refused(gate, large[: 17 * 1024 * 1024], "AR", flaw="too large")


@pytest.mark.parametrize(
    "segments",
    [
        ["NTE|1||x"] * 100_001,
        ["PID|" + "~".join(["x"] * 1_000_000)],
        ["OBX|1|ED|X||" + "A" * 15_000_000],
        ["ZZZ|" + "|".join(["x"] * 100_000)],
        ["PV1|" + "^".join(["x"] * 100_000)],
    ],
    ids=["segments", "repetitions", "attachment", "fields", "components"],
)
async def test_H_08_message_of_very_many_parts(gate: Gate, segments: Sequence[str]) -> None:
    """Bounded: it is refused, or processed, or set aside, within moments, and others go on."""
    raw = message(header(control_id=f"H08-{segments[0][:3]}"), patient(), *segments)
    async with asyncio.timeout(30):
        await intake.accept(gate, [Received(connection=FEED, raw=raw)])
        [good] = await intake.accept(
            gate, [Received(connection=FEED, raw=adt(control_id="H08-good" + segments[0][:3]))]
        )
        assert good is not None
        assert b"MSA|AA" in good
        while await events.process_next(gate, "w1"):
            pass


MANGLED = {
    "letters as delimiters": (b"MSH|ABCD|", "AE"),
    "the field's delimiter as escape": (b"MSH|^~|&|", "AE"),
    "one delimiter for all": (b"MSH|^^^^|", "AE"),
    "none": (b"MSH||", "AR"),
    "one": (b"MSH|^|", "AE"),
    "a carriage return": (b"MSH|^~\r&|", ""),
    "a quote as the field's delimiter": (b'MSH"^~\\&"', "AE"),
}


@pytest.mark.parametrize("how", MANGLED)
async def test_H_09_delimiters_that_are_none(gate: Gate, how: str) -> None:
    beginning, _ = MANGLED[how]
    raw = adt(control_id="H09").replace(b"MSH|^~\\&|", beginning, 1)
    versions, queued, _ = await standing(gate)
    counted = gate.database.refusals.counts.total()
    [said] = await intake.accept(gate, [Received(connection=FEED, raw=raw)])
    assert b"MSA|AA" not in (said or b"")
    assert (await standing(gate))[:2] == (versions, queued)
    assert gate.database.refusals.counts.total() == counted + 1


@pytest.mark.parametrize(
    "text",
    ["\\X0B\\", "\\X1C0D\\", "\\X0D4D5348\\", "\\.sp9999999\\", "\\X\\", "\\XZZ\\", "\\" * 999],
)
async def test_H_11_escapes_are_data(gate: Gate, text: str) -> None:
    """An escape that spells the end of a frame, a new segment or a million blanks."""
    control_id = f"H11-{abs(hash(text)) % 10**8}"
    raw = adt(control_id=control_id, mrn="h11").replace(b"Example", text.encode(), 1)
    [said] = await intake.accept(gate, [Received(connection=FEED, raw=raw)])
    assert said is not None
    assert said.count(b"MSH") == 1
    while await events.process_next(gate, "w1"):
        pass
    sizes = "SELECT coalesce(max(octet_length(body)), 0) FROM record_version WHERE tenant = $1 "
    sizes += "AND resource_type = 'Patient'"
    assert await gate.database.fetch_value(sizes) < 200_000


@pytest.mark.parametrize(
    ("field", "value"),
    [(11, "T"), (11, "D"), (12, "3.0"), (12, "9"), (9, "XXX^Y99^Z"), (9, ""), (10, "")],
    ids=str,
)
async def test_H_12_header_that_this_feed_does_not_take(gate: Gate, field: int, value: str) -> None:
    fields = header(control_id=f"H12-{field}{value[:3]}").split("|")
    fields[field - 1] = value
    raw = message("|".join(fields), patient(family=CANARY))
    if value == "XXX^Y99^Z":
        [said] = await intake.accept(gate, [Received(connection=FEED, raw=raw)])
        assert said
        while await events.process_next(gate, "w1"):
            pass
        return
    await refused(gate, raw, "AR")


@pytest.mark.parametrize("year", ["1999", "2099", "0001", "9999"])
async def test_H_14_clock_of_the_sender(gate: Gate, year: str) -> None:
    """Order is that of arrival; a date of years away moves nothing to the front or the back."""
    early = adt(control_id=f"H14a-{year}", mrn=f"h14{year}")
    odd = adt(control_id=f"H14b-{year}", mrn=f"h14{year}")
    odd = odd.replace(b"20240102030405", f"{year}0102030405".encode())
    answers = await intake.accept(
        gate, [Received(connection=FEED, raw=early), Received(connection=FEED, raw=odd)]
    )
    assert all(answers)
    while await events.process_next(gate, "w1"):
        pass
    rows = await gate.database.fetch(
        "SELECT control_id FROM inbox WHERE tenant = $1 AND control_id LIKE 'H14%' ORDER BY id"
    )
    assert [r[0] for r in rows][-2:] == [f"H14a-{year}", f"H14b-{year}"]


async def test_H_15_inbound_subscriptions_surface_is_absent(desk: Any, bearer: Any) -> None:
    """No route takes notifications of a FHIR server; events come over HL7 v2."""
    bundle = {"resourceType": "Bundle", "type": "history", "entry": []}
    for path in ("/v1/notifications", "/fhir/north-clinic/Subscription", "/subscriptions"):
        way = lambda p=path: desk.ask("POST", p, headers=bearer, json=bundle)
        await refused_request(desk, way, status=(404, 405))


ACKS = (
    b"MSH|^~\\&|X|Y|Z|W|20240102030405||ACK|1|P|2.5\rMSA|AA|forged\r",
    b"MSH|^~\\&|ADT1|NORTH|CHARTGATE|NORTH|20240102030405||ACK^A01|2|P|2.5\rMSA|AA|H03\r",
)


@pytest.mark.parametrize("raw", ACKS, ids=range(2))
async def test_H_16_acknowledgement_that_nobody_waits_for(gate: Gate, raw: bytes) -> None:
    """An ACK that comes in by the feed settles nothing that we sent; late and forged ones on our
    own connections are in tests/adapters/hl7v2_mllp/test_sender.py."""
    before = await gate.database.fetch_value(
        "SELECT count(*) FROM outgoing WHERE tenant = $1 AND status = 'acknowledged'"
    )
    versions, _, _ = await standing(gate)
    await intake.accept(gate, [Received(connection=FEED, raw=raw)])
    while await events.process_next(gate, "w1"):
        pass
    assert (await standing(gate))[0] == versions
    assert before == await gate.database.fetch_value(
        "SELECT count(*) FROM outgoing WHERE tenant = $1 AND status = 'acknowledged'"
    )
