"""Watching a running Chartgate from outside: its processes, its reads, its acknowledgements."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from chartgate.demo.agents import book
from chartgate.demo.client import Gateway, load_key
from chartgate.demo.rig import Rig
from chartgate.demo.sender import END, VT

SCOPE = "system/Patient.r system/Slot.rs system/Schedule.r"
PATIENT_S = 40.0  # on a machine that is busy with other things


def processes(rig: Rig) -> dict[str, psutil.Process]:
    """What runs under `chartgate up`, by verb; PostgreSQL's first process is "postgres"."""
    up = psutil.Process(rig.processes["chartgate"].pid)
    found = {}
    for child in up.children():
        try:
            line = child.cmdline()
        except psutil.Error:
            continue
        if line and "postgres" in line[0]:
            found["postgres"] = child
        elif "-m" in line[:3]:
            found[line[-1]] = child
    return found


def everything(rig: Rig) -> list[psutil.Process]:
    """`chartgate up` and all below it."""
    up = psutil.Process(rig.processes["chartgate"].pid)
    return [up, *up.children(recursive=True)]


def until(condition: Callable[[], Any], what: str, *, within_s: float = PATIENT_S) -> None:
    """Waits for a condition; fails by its name."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def left_of(some: Sequence[psutil.Process]) -> list[str]:
    """Those that still run; what only waits to be collected by the system counts as ended."""
    left = []
    for process in some:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                left.append(" ".join(process.cmdline()[-3:]))
        except psutil.NoSuchProcess:
            pass
    return left


def slot_picker(rig: Rig, http: aiohttp.ClientSession) -> Gateway:
    """The AI client that books."""
    return Gateway(
        url=rig.gateway,
        site="north-clinic",
        client_id="slot-picker",
        key=load_key(rig.folder / "keys" / "slot-picker.pem"),
        http=http,
        scope=SCOPE,
    )


async def booked(rig: Rig, http: aiohttp.ClientSession) -> str:
    """The id of a booking that slot-picker proposed a moment ago."""
    scenario = await rig.control("scenario")
    said = (await book(slot_picker(rig, http), scenario["booking_patient"])).split()
    assert said[0] == "proposed"
    return said[1]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One answer of the gateway; status 0: it took no connection."""

    status: int
    text: str
    took_s: float


@dataclass(kw_only=True)
class Reader:
    """slot-picker, who reads one resource of the hospital."""

    gateway: Gateway
    http: aiohttp.ClientSession
    reference: str

    async def read(self) -> Seen:
        """One read with a token that holds."""
        started = time.monotonic()
        try:
            headers = {"Authorization": f"Bearer {await self.gateway._token()}"}
            url = f"{self.gateway.url}/fhir/{self.gateway.site}/{self.reference}"
            async with self.http.get(url, headers=headers) as answer:
                text = await answer.text()
                status = answer.status
        except aiohttp.ClientError as error:
            status, text = 0, type(error).__name__
        return Seen(status=status, text=text, took_s=time.monotonic() - started)

    async def until(self, status: int) -> Seen:
        """The first read that is answered with this status."""
        async with asyncio.timeout(PATIENT_S):
            while (seen := await self.read()).status != status:
                await asyncio.sleep(0.05)
        return seen


@asynccontextmanager
async def reader(rig: Rig) -> AsyncIterator[Reader]:
    """A client with a token, and a patient to read."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        gateway = slot_picker(rig, http)
        patient = (await rig.control("scenario"))["booking_patient"]
        opened = Reader(gateway=gateway, http=http, reference=patient)
        await opened.until(200)
        yield opened


def message(number: int) -> bytes:
    """An ADT message of the test's own."""
    return (
        f"MSH|^~\\&|LAB|NORTH|CG|NORTH|20260102030405||ADT^A04|K{number}|P|2.5\r"
        f"EVN|A04|20260102030405\rPID|1||K{number}^^^NORTH^MR||Canary^Ada||19700101|F\r"
        "PV1|1|O\r"
    ).encode()


async def acknowledged(rig: Rig, number: int) -> str:
    """The code that one message is answered with; "" where the line is closed without one."""
    reading, writing = await asyncio.open_connection("127.0.0.1", rig.mllp_port)
    try:
        writing.write(VT + message(number) + END)
        async with asyncio.timeout(10):
            answer = await reading.readuntil(END)
    except (asyncio.IncompleteReadError, ConnectionError):
        return ""
    finally:
        writing.close()
    return answer.split(b"MSA|", 1)[1].split(b"|", 1)[0].decode()


def config_with_ports(rig: Rig, folder: Path, **ports: int) -> Path:
    """A second config on the data directory of `rig`, with other ports."""
    text = rig.config.read_text(encoding="utf-8")
    text = text.replace('data_dir = "var"', f'data_dir = "{rig.folder / "var"}"')
    text = text.replace('"keys/', f'"{rig.folder}/keys/')
    text = text.replace('charters_dir = "charters"', f'charters_dir = "{rig.folder}/charters"')
    text = text.replace(f"port = {rig.web_port}", f"port = {ports['web']}")
    text = text.replace(f"port = {rig.mllp_port}", f"port = {ports['mllp']}")
    file = folder / "chartgate.toml"
    file.write_text(text, encoding="utf-8")
    return file


@contextmanager
def running(config: Path, verb: str) -> Iterator["subprocess.Popen[str]"]:
    """`chartgate VERB` as a process, which does not outlive the test."""
    with subprocess.Popen(
        [sys.executable, "-m", "chartgate", "--config", str(config), verb],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def end(process: "subprocess.Popen[str]", signal_number: int) -> tuple[int, str]:
    """Its exit code and all that it said, after the signal."""
    process.send_signal(signal_number)
    out, err = process.communicate(timeout=20)
    return process.returncode, out + err
