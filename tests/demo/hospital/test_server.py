"""Starting, stopping, being refused, and running as a process."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chartgate.demo.hospital import Hospital, make_hospital
from chartgate.errors import ConfigError

Call = Callable[..., Awaitable[Any]]


async def test_a_port_in_use_is_a_sentence(hospital: Hospital) -> None:
    second = make_hospital(host=hospital.host, port=hospital.port)
    with pytest.raises(ConfigError, match=f"port {hospital.port} .* in use"):
        await second.start()


async def test_a_stopped_hospital_refuses_and_comes_back_with_its_chart(
    call: Call, hospital: Hospital
) -> None:
    hospital.edit({"resourceType": "Patient", "id": "a"})
    assert (await call("GET", "Patient/a")).status == 200
    await hospital.stop()
    with pytest.raises(aiohttp.ClientError):
        await call("GET", "Patient/a")
    await hospital.start()
    assert (await call("GET", "Patient/a")).status == 200


async def test_a_write_that_was_to_be_applied_late_dies_with_the_server(
    call: Call, hospital: Hospital
) -> None:
    hospital.faults.switch("apply_late_s", 0.01)
    await call("POST", "Patient", {"resourceType": "Patient"})
    await hospital.stop()
    await asyncio.sleep(0.02)
    assert hospital.journal.effects == []


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "chartgate.demo.hospital",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_process_says_when_it_is_ready_and_ends_when_told(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    bundle = {"resourceType": "Patient", "id": "p", "birthDate": "1980"}
    (tmp_path / "p.json").write_text(json.dumps(bundle))
    process = await start("--bundles", str(tmp_path), "--today", "2026-03-04")
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    assert ready["ready"] is True
    assert ready["loaded"]["taken"] == {"Patient": 1}
    async with http.get(f"{ready['fhir']}/Patient/p") as response:
        assert response.status == 200
    process.terminate()
    assert await process.wait() == 0


async def test_the_process_names_what_is_wrong(hospital: Hospital, tmp_path: Path) -> None:
    for arguments, words in (
        (("--port", str(hospital.port)), "in use"),
        (("--bundles", str(tmp_path)), "holds no"),
        (("--clients", str(tmp_path / "none")), "must be JSON"),
    ):
        process = await start(*arguments)
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert words in errors.decode()
        assert "Traceback" not in errors.decode()
