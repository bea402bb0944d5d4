"""What goes wrong around a running Chartgate: the EHR, the database, a charter, the disk."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from chartgate.config import load_config
from chartgate.demo.agents import book
from chartgate.demo.rig import Rig, Staff
from chartgate.store.embedded import running_url
from tests.cli.houses import Seen, acknowledged, processes, reader, until

pytestmark = pytest.mark.slow

TAKES_AT_MOST_S = 2.6  # two seconds, and some of a busy machine


async def command(rig: Rig, *words: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(rig.chartgate, *words)


async def test_ehr_that_is_down_is_a_503_with_a_sentence_and_an_open_breaker(house: Rig) -> None:
    async with reader(house) as client:
        client.reference = (await house.control("scenario"))["free_slots"][0]  # is read live
        await client.until(200)
        await house.control("faults", {"down": "503"})
        try:
            seen = await client.read()
            assert seen.status == 503
            assert "north-ehr" in seen.text or "north-clinic" in seen.text
            for _ in range(20):
                await client.read()
            status = await command(house, "status")
        finally:
            await house.control("faults", {})
        assert "breaker north-ehr    open" in status.stdout
        assert (await client.until(200)).status == 200


async def test_broken_charter_leaves_the_old_ones_running_and_raises_an_alarm(house: Rig) -> None:
    """Even a gateway that dies meanwhile does not take the others with it."""
    file = house.folder / "charters" / "visit-note.yaml"
    right = file.read_text()
    async with reader(house) as client:
        others = {n: p.pid for n, p in processes(house).items() if n != "serve"}
        alarms = await audited(house, "charter.reload", "failed")
        try:
            file.write_text("charter: [")
            async with asyncio.timeout(10):
                while await audited(house, "charter.reload", "failed") == alarms:
                    await asyncio.sleep(0.1)
            assert (await client.read()).status == 200
            assert await acknowledged(house, 1) == "AA"
            processes(house)["serve"].kill()
            log = house.log("chartgate")
            await asyncio.to_thread(
                until, lambda: "visit-note.yaml: " in log.read_text(), "serve to say what is wrong"
            )
            assert await acknowledged(house, 2) == "AA"
            now = {n: p.pid for n, p in processes(house).items() if n != "serve"}
            assert now == others
        finally:
            file.write_text(right)
        await client.until(200)


async def audited(rig: Rig, action: str, outcome: str) -> int:
    """How many audit events of one kind there are."""
    folder = rig.folder / f"export-{time.monotonic_ns()}"
    done = await command(rig, "ledger", "export", str(folder))
    assert done.returncode == 0, done.stderr
    lines = (folder / "events.ndjson").read_text().splitlines()
    return sum(f'\\"{action}\\"' in line and f'\\"{outcome}\\"' in line for line in lines)


async def test_killed_postgresql_comes_back_and_meanwhile_each_answer_is_prompt_and_true(
    house: Rig,
) -> None:
    async with reader(house) as client:
        for round_ in range(3):
            killed = processes(house)["postgres"]
            killed.kill()
            answers: list[Seen] = []
            codes: list[str] = []
            again = False  # until then children of the killed one may still answer
            deadline = time.monotonic() + 40
            while not (again and answers[-1].status == 200 and codes[-1] == "AA"):
                assert time.monotonic() < deadline, (again, answers[-1:], codes[-1:])
                running = processes(house).get("postgres")
                again = running is not None and running.pid != killed.pid
                answers.append(await client.read())
                codes.append(await acknowledged(house, 1000 * round_ + len(codes)))
            assert {seen.status for seen in answers} <= {200, 503}, answers
            assert max(seen.took_s for seen in answers) < TAKES_AT_MOST_S
            assert set(codes) <= {"AA", "AR", ""}


async def test_halt_acts_within_a_second_and_resume_goes_on(house: Rig) -> None:
    """Many are approved and written one after another; none is written after the halt."""
    async with reader(house) as client:
        staff = Staff(house.gateway, client.http, "sofia")
        await staff.sign_in()
        slow = {"value": 0.3, "interactions": ["transaction"]}
        await house.control("faults", {"latency_s": slow})
        try:
            ids = await proposals(client.gateway, client.reference, 12)
            await approve(staff, ids)
            async with asyncio.timeout(20):
                while not await effects(house, ids):
                    await asyncio.sleep(0.02)
            halted = await command(house, "halt", "--reason", "drill")
            halted_at = time.time()
            assert halted.returncode == 0, halted.stderr
            await asyncio.sleep(1.0)
            written = await effects(house, ids)
            await asyncio.sleep(2.0)
            assert await effects(house, ids) == written, "something was written after the halt"
            assert all(at <= halted_at + 1.0 for at in written.values())
            assert len(written) < len(ids), "all were written before the halt: it showed nothing"
        finally:
            await house.control("faults", {})
            resumed = await command(house, "resume", "--reason", "over")
        assert resumed.returncode == 0, resumed.stderr
        async with asyncio.timeout(30):
            while len(await effects(house, ids)) < len(ids):
                await asyncio.sleep(0.1)


async def proposals(gateway: Any, patient: str, count: int) -> list[str]:
    """Bookings of so many different slots."""
    ids: list[str] = []
    taken: set[str] = set()
    while len(ids) < count:
        gateway.begin()
        said = (await book(gateway, patient, taken=taken)).split()
        assert said[0] == "proposed", said
        ids.append(said[1])
        taken.add(said[-1].removeprefix("Slot/"))
    return ids


async def approve(staff: Staff, ids: list[str]) -> None:
    for id_ in ids:
        proposal = await staff.get(f"/v1/proposals/{id_}")
        digest = proposal["content"]["digest"]
        await staff.post(f"/v1/proposals/{id_}/review", verdict="approve", digest=digest)


async def effects(rig: Rig, ids: list[str]) -> dict[str, float]:
    """When the hospital wrote which of these proposals, by its own journal."""
    journal = await rig.control("journal")
    return {
        marker: _seconds(effect["at"])
        for effect in journal
        for marker in effect["markers"]
        if marker in ids and effect["interaction"] == "create"
    }


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


@pytest.fixture
def small_disk(mount_disk: Callable[[int], Path]) -> Path:
    """A disk that holds a database and little more."""
    return mount_disk(200)


@pytest.fixture
def on_small_disk(house: Rig, small_disk: Path) -> Iterator[Rig]:
    """A Chartgate of its own whose database is on the small disk, before the house's hospital."""
    rig = Rig(house.folder.parent / "full", hospital_port=house.hospital_port)
    rig.initialise()
    text = rig.config.read_text()
    rig.config.write_text(text.replace('data_dir = "var"', f'data_dir = "{small_disk}/var"'))
    for name in ("north-ehr.pem", "north-ehr.jwks.json"):
        (rig.folder / "keys" / name).write_bytes((house.folder / "keys" / name).read_bytes())
    rig.start_chartgate()
    yield rig
    rig.discard()


async def test_full_disk_acknowledges_nothing_and_recovers_by_itself(
    on_small_disk: Rig, small_disk: Path
) -> None:
    rig = on_small_disk
    async with reader(rig) as client:
        assert await acknowledged(rig, 1) == "AA"
        filler = small_disk / "filler"
        fill(filler)
        codes: dict[int, str] = {}
        async with asyncio.timeout(60):
            for number in range(2, 4000):
                codes[number] = await acknowledged(rig, number)
                if list(codes.values())[-3:] == ["AR"] * 3:
                    break
                fill(filler)  # what the server freed meanwhile, e.g. of its log
        assert list(codes.values())[-3:] == ["AR"] * 3
        seen = await client.read()
        assert (seen.status, seen.took_s < TAKES_AT_MOST_S) == (503, True), seen
        assert "try again" in seen.text
        filler.unlink()
        await client.until(200)
        async with asyncio.timeout(60):
            while await acknowledged(rig, 9999) != "AA":
                await asyncio.sleep(0.2)
        promised = {n for n, code in codes.items() if code == "AA"} | {1, 9999}
        kept = await kept_messages(rig)
        assert {f"K{n}" for n in promised} <= kept


def fill(filler: Path) -> None:
    """Takes what is left of the disk."""
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            pass


async def kept_messages(rig: Rig) -> set[str]:
    """Control ids of all messages that the store holds."""
    url = running_url(load_config(rig.config).data_dir)
    connection = await asyncpg.connect(url, server_settings={"chartgate.tenant": "main"})
    try:
        return {r["control_id"] for r in await connection.fetch("SELECT control_id FROM inbox")}
    finally:
        await connection.close()
