"""The demo on anyone's data: what was taken, quarantined and refused, and the walk on one patient."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from chartgate.demo.rig import Rig, RigError, eventually
from chartgate.demo.story import STEP_WITHIN_S, Story, approve, booking, ledger, rollback
from chartgate.store.embedded import running_url

SETTLED_WITHIN_S = 300.0

INBOX = "SELECT status, count(*) AS n, reason FROM inbox GROUP BY status, reason ORDER BY n DESC"
QUARANTINE = (
    "SELECT reason_class, reason, position, sum(count) AS n FROM quarantine "
    "GROUP BY reason_class, reason, position ORDER BY n DESC"
)
RECORD = (
    "SELECT resource_type, count(*) AS n FROM record WHERE connection = 'north-adt' "
    "GROUP BY resource_type ORDER BY resource_type"
)
WAITING = "SELECT 1 FROM inbox WHERE status = 'queued' LIMIT 1"


async def walk_real_data(rig: Rig, messages: Path | None) -> None:
    """Tells what became of bundles and messages, then walks a booking there and back."""
    timeout = aiohttp.ClientTimeout(total=STEP_WITHIN_S)
    show_bundles(rig)
    if messages:
        await take_messages(rig, messages)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        story = Story(rig, http, await rig.control("scenario"))
        sofia = await story.staff("sofia")
        await settle_proposals(story)
        booked = await booking(story)
        await task(story)
        await rollback(story, booked)
        await asyncio.to_thread(ledger, story)
        refused = (await sofia.get("/v1/proposals?status=handed-off"))["proposals"]
        story.say(f"proposals that went to staff: {len(refused)}")


def show_bundles(rig: Rig) -> None:
    """What the hospital loaded."""
    line = json.loads(rig.log("hospital").read_text().splitlines()[0])
    loaded = line.get("loaded")
    if not loaded:
        print("No bundles were given: the sample patients are loaded.")
        return
    print(f"Bundles: {loaded['files']} files, {loaded['taken_total']} resources taken, "
          f"{loaded['refused_total']} refused")  # fmt: skip
    for name, count in loaded["taken"].items():
        print(f"  {count:6}  {name}")
    for reason, count in loaded["refused"].items():
        print(f"  {count:6}  refused: {reason}")


async def take_messages(rig: Rig, messages: Path) -> None:
    """Sends the file over MLLP and waits until every message found its end."""
    command = ["chartgate.demo.sender", "--port", str(rig.mllp_port), "--file", str(messages)]
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, "--connections", "4", "--renumber",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, errors = await done.communicate()
    if done.returncode:
        raise RigError(f"{messages}: {errors.decode().strip() or out.decode().strip()}")
    report = json.loads(out)
    print(f"Messages: {report['sent']} sent, each under a control id of its own where it has one; "
          f"answered {report['codes']}")  # fmt: skip
    url = running_url(rig.folder / "var")
    assert url, "PostgreSQL does not run"
    connection = await asyncpg.connect(url, server_settings={"chartgate.tenant": "main"})
    try:

        async def settled() -> bool:
            return not await connection.fetchval(WAITING)

        await eventually(settled, within_s=SETTLED_WITHIN_S, what="the inbox to be worked off")
        show_rows("inbox", await connection.fetch(INBOX), "status", "reason")
        show_rows("quarantine", await connection.fetch(QUARANTINE), "reason_class", "position", "reason")  # fmt: skip
        show_rows("record", await connection.fetch(RECORD), "resource_type")
    finally:
        await connection.close()


def show_rows(title: str, rows: list[Any], *columns: str) -> None:
    """Counts with what they count."""
    print(f"  {title}")
    for row in rows:
        print(f"    {row['n']:6}  {' · '.join(str(row[c]) for c in columns if row[c])}")


async def settle_proposals(story: Story) -> None:
    """Whatever the messages made the clients propose is known before the walk begins."""
    for name in ("sofia", "dr-osei", "nora"):
        staff = await story.staff(name)
        listed = (await staff.get("/v1/proposals?limit=500"))["proposals"]
        story.known |= {proposal["id"] for proposal in listed}


async def task(story: Story) -> None:
    """A conflict-free write of another kind: status and times of a Task, where there is one."""
    focus = story.scenario["authorisation"]
    if not focus:
        return
    nora = await story.staff("nora")
    port = story.rig.client_ports["auth-clerk"]
    async with story.http.post(f"http://127.0.0.1:{port}/ask", json={"focus": focus}) as answer:
        answer.raise_for_status()
    proposal = await story.new_proposal(nora)
    await approve(story, nora, proposal)
    await story.until(nora, proposal["id"], "verified")
    story.say(f"{focus} has its status and times")
