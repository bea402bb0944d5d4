"""The sender: every message answered or counted, sent again with the same bytes."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chartgate.demo.hospital import running_hospital, sample_patients
from chartgate.demo.sender import ack_journal, one_of_hospital, send_all
from chartgate.formats.hl7v2 import parse

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def message(number: int) -> bytes:
    return f"MSH|^~\\&|A|B|C|D|20260304||ADT^A08|m{number}|P|2.5\rPID|1\r".encode()


def ack(raw: bytes, code: str = "AA") -> bytes:
    control_id = raw.split(b"|")[9]
    return b"\x0bMSH|^~\\&|C|D\rMSA|" + code.encode() + b"|" + control_id + b"\r\x1c\r"


async def accept(raw: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(ack(raw))


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[tuple[int, Counter[bytes]]]:
    """A listener that notes each message and lets `answer` decide what to say."""
    heard: Counter[bytes] = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while frame := await reader.readuntil(b"\x1c\r"):
                raw = frame.removeprefix(b"\x0b").removesuffix(b"\x1c\r")
                heard[raw] += 1
                await answer(raw, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(("connections", "window"), [(1, 1), (4, 1), (2, 10)])
async def test_every_message_is_sent_once_and_answered(connections: int, window: int) -> None:
    messages = [message(number) for number in range(200)]
    async with listening(accept) as (port, heard):
        report = await send_all(messages, "127.0.0.1", port, connections, window)
    assert heard == Counter(messages)
    assert (report.sent, report.accepted, report.resent, report.unanswered) == (200, 200, 0, 0)
    assert len(report.latencies) == 200
    assert {control_id for control_id, _ in report.acks} == {b"m%d" % n for n in range(200)}


async def test_a_refusal_is_an_answer() -> None:
    async def refuse(raw: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(ack(raw, "AR" if b"|m1|" in raw else "AA"))

    async with listening(refuse) as (port, _):
        report = await send_all([message(0), message(1)], "127.0.0.1", port, 1)
    assert report.codes == {"AA": 1, "AR": 1}
    assert report.accepted == 1


@pytest.mark.parametrize("how", ["silence", "cut"])
async def test_what_had_no_answer_is_sent_again_with_the_same_bytes(how: str) -> None:
    spoiled: list[bytes] = []

    async def answer(raw: bytes, writer: asyncio.StreamWriter) -> None:
        if b"|m3|" in raw and not spoiled:
            spoiled.append(raw)
            if how == "cut":
                writer.transport.abort()
        else:
            writer.write(ack(raw))

    messages = [message(number) for number in range(10)]
    async with listening(answer) as (port, heard):
        report = await send_all(messages, "127.0.0.1", port, 1, timeout_s=0.2)
    assert heard[messages[3]] == 2
    assert heard.total() == 11
    assert (report.sent, report.accepted, report.resent) == (10, 10, 1)


async def test_what_is_never_answered_is_counted() -> None:
    async def silent(raw: bytes, writer: asyncio.StreamWriter) -> None:
        return None

    async with listening(silent) as (port, _):
        report = await send_all([message(0)], "127.0.0.1", port, 1, timeout_s=0.05, give_up_s=0.2)
    assert (report.unanswered, report.accepted) == (1, 0)


async def test_a_listener_that_comes_up_later_gets_everything() -> None:
    async with listening(accept) as (port, _):
        pass
    sending = asyncio.create_task(
        send_all([message(n) for n in range(20)], "127.0.0.1", port, 2, give_up_s=10)
    )
    await asyncio.sleep(0.1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(ack(await reader.readuntil(b"\x1c\r")))
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    report = await sending
    server.close()
    await server.wait_closed()
    assert report.accepted == 20


async def test_a_rate_is_kept() -> None:
    async with listening(accept) as (port, _):
        report = await send_all([message(n) for n in range(41)], "127.0.0.1", port, 2, rate=200)
    assert 0.18 <= report.elapsed_s < 1.0


async def test_the_journal_holds_each_answer_with_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "acks.jsonl"
    async with listening(accept) as (port, _):
        with ack_journal(file) as note:
            await send_all([message(1)], "127.0.0.1", port, 1, on_ack=note)
    row = json.loads(file.read_text())
    assert (row["control_id"], row["code"], len(row["sha256"])) == ("m1", "AA", 64)


async def test_the_command_sends_files_and_sums_up(tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_bytes(message(1) + message(2))
    command = [sys.executable, "-m", "chartgate.demo.sender"]
    async with listening(accept) as (port, heard):
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--port", str(port), "--file", str(tmp_path)),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    summary = json.loads(out)
    assert (process.returncode, summary["sent"], summary["accepted"]) == (0, 2, 2)
    assert heard.total() == 2


async def test_one_message_about_a_running_hospital() -> None:
    async with running_hospital(fill=sample_patients()) as hospital:

        async def ask(trigger: str, reference: str = "") -> bytes:
            return await asyncio.to_thread(
                one_of_hospital, hospital.url, trigger, reference, control_id="c"
            )

        arrival, discharge = parse(await ask("A04")), parse(await ask("A03"))
        appointment = next(hospital.chart.references("Appointment"))
        booked = parse(await ask("S12", appointment))
        scenario = hospital.scenario
    assert f"Patient/{arrival.value('PID', 3)}" == scenario.booking_patient
    assert f"Encounter/{discharge.value('PV1', 19)}" == scenario.visit
    assert f"Patient/{discharge.value('PID', 3)}" == scenario.visit_patient
    assert f"Appointment/{booked.value('SCH', 2)}" == appointment


async def test_insist_sends_again_what_is_refused_until_it_is_accepted() -> None:
    """AR says that the receiver cannot now: a real sender keeps the message and tries again."""
    codes = ["AR", "AR", "AA"]

    async def refuse_twice(raw: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(ack(raw, codes.pop(0)))

    async with listening(refuse_twice) as (port, heard):
        report = await send_all([message(7)], "127.0.0.1", port, 1, insist=True)
    assert list(heard.values()) == [3]
    assert report.codes == {"AA": 1}
    assert report.refused == 2
