"""kill -9 of gateway, worker, listener and PostgreSQL at random, under load, and what was lost.

While HL7 v2 messages flow and proposals are submitted and approved, processes are killed outright.
Afterwards the sender's own log of acknowledgements is held against the inbox, and the sample
hospital's journal of effects against the proposals. Prints n, the count and the bound 3/n.

`python -m benchmarks.chaos [--messages 30000] [--proposals 200] [--seed N]`
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import psutil

from chartgate.demo.agents import book
from chartgate.demo.client import Gateway, GatewayRefused, load_key
from chartgate.demo.rig import Rig, Staff, StaffRefused
from chartgate.model.proposal import ENDS
from chartgate.store.embedded import running_url

AWAY = (aiohttp.ClientError, TimeoutError, ConnectionError, OSError)
KILL_EVERY_S = (0.5, 2.0)
SETTLE_WITHIN_S = 240.0
QUEUED = "SELECT count(*) AS n FROM inbox WHERE status = 'queued'"
RATE = 600  # messages a second, so that there is time to kill in
RESTS = {status.value for status in ENDS} | {"handed-off"}  # handed off: staff have it
VICTIMS = ("serve", "work", "listen", "postgres")


@dataclass
class Campaign:
    """What is under way, and what has happened so far."""

    rig: Rig
    seed: int
    proposals_wanted: int
    kills: Counter[str] = field(default_factory=Counter)
    ready_again_s: list[float] = field(default_factory=list)
    proposals: set[str] = field(default_factory=set)
    busy: bool = True


def main() -> None:
    """Runs one campaign; exit code 1 if anything was lost, doubled or stuck."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--proposals", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chartgate-chaos-") as folder:
        rig = Rig(Path(folder) / "rig")
        campaign = Campaign(rig, arguments.seed, arguments.proposals)
        try:
            rig.initialise()
            rig.start_hospital()
            rig.start_chartgate()
            rig.prepare()
            print(f"seed {arguments.seed}: {arguments.messages} messages, {arguments.proposals} "
                  "proposals, processes killed at random", flush=True)  # fmt: skip
            result = asyncio.run(run(campaign, arguments.messages))
        finally:
            rig.discard()
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["held"] else 1)


async def run(campaign: Campaign, messages: int) -> dict[str, Any]:
    """Load and kills together, then calm, then the count."""
    rig = campaign.rig
    journal = rig.folder / "acks.ndjson"
    rig.start("sender", ["chartgate.demo.sender", "--port", str(rig.mllp_port), "--count",
                         str(messages), "--connections", "8", "--rate", str(RATE), "--insist",
                         "--journal", str(journal)])  # fmt: skip
    async with asyncio.TaskGroup() as group:
        killing = group.create_task(kill_at_random(campaign))
        reviewing = group.create_task(review(campaign))
        await propose(campaign)
        while rig.processes["sender"].poll() is None:
            await asyncio.sleep(0.2)
        campaign.busy = False
        killing.cancel()
        with suppress(asyncio.CancelledError):
            await killing
        await settle(campaign)
        reviewing.cancel()
    return await count(campaign, journal)


async def kill_at_random(campaign: Campaign) -> None:
    """SIGKILL to one process at a time, after a random pause each."""
    chance = random.Random(campaign.seed)
    up = psutil.Process(campaign.rig.processes["chartgate"].pid)
    while campaign.busy:
        await asyncio.sleep(chance.uniform(*KILL_EVERY_S))
        victim = chance.choice(VICTIMS)
        with suppress(psutil.NoSuchProcess):
            for child in up.children():
                line = child.cmdline()
                if victim in (line[-1:] or [""])[0] or (
                    victim == "postgres" and "postgres" in line[0]
                ):
                    child.kill()
                    campaign.kills[victim] += 1
                    started = time.monotonic()
                    await ready(campaign.rig)
                    campaign.ready_again_s.append(time.monotonic() - started)
                    break


async def ready(rig: Rig) -> None:
    """Until the gateway says that it is ready."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
        for _ in range(1200):
            with suppress(*AWAY):
                async with http.get(f"{rig.gateway}/health/ready") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)


async def propose(campaign: Campaign) -> None:
    """slot-picker books one free slot after another, until enough proposals stand."""
    rig = campaign.rig
    patient = (await rig.control("scenario"))["booking_patient"]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        gateway = Gateway(
            url=rig.gateway, site="north-clinic", client_id="slot-picker", http=http,
            key=load_key(rig.folder / "keys" / "slot-picker.pem"),
            scope="system/Patient.r system/Slot.rs system/Schedule.r",
        )  # fmt: skip
        taken: set[str] = set()
        while len(campaign.proposals) < campaign.proposals_wanted:
            gateway.begin()
            try:
                said = await book(gateway, patient, taken=taken, key=str(uuid.uuid4()))
            except GatewayRefused as refused:
                if refused.status in (401, 403):
                    gateway.renew_at = 0.0
                await asyncio.sleep(0.1)
            except AWAY:
                await asyncio.sleep(0.1)
            else:
                words = said.split()  # "proposed ID (status) Slot/ID"
                if words[0] == "proposed":
                    campaign.proposals.add(words[1])
                    taken.add(words[-1].removeprefix("Slot/"))


async def review(campaign: Campaign) -> None:
    """sofia approves whatever waits for her, again and again, as impatient people do."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        staff = Staff(campaign.rig.gateway, http, "sofia")
        while True:
            try:
                if not staff.cookie:
                    await staff.sign_in()
                waiting = await staff.get("/v1/proposals?status=pending-review&limit=50")
                for proposal in waiting["proposals"]:
                    await _approve(staff, proposal)
            except StaffRefused as refused:
                if refused.status == 401:
                    staff.cookie = ""
            except AWAY:
                pass
            await asyncio.sleep(0.1)


async def _approve(staff: Staff, proposal: dict[str, Any]) -> None:
    with suppress(StaffRefused):  # e.g. decided by the request whose answer was lost
        await staff.post(
            f"/v1/proposals/{proposal['id']}/review",
            verdict="approve",
            digest=proposal["content"]["digest"],
        )


async def settle(campaign: Campaign) -> None:
    """Until every proposal rests and the inbox is empty, or the time for that is over."""
    deadline = time.monotonic() + SETTLE_WITHIN_S
    while time.monotonic() < deadline:
        with suppress(*AWAY, asyncpg.PostgresError):
            states = await proposal_states(campaign.rig)
            queued = await store_rows(campaign.rig, QUEUED)
            resting = states and all(state in RESTS for state in states.values())
            if resting and not queued[0]["n"]:
                return
        await asyncio.sleep(0.5)


async def store_rows(rig: Rig, query: str) -> list[Any]:
    """Rows from the store itself."""
    url = running_url(rig.folder / "var")
    assert url, "PostgreSQL does not run"
    connection = await asyncpg.connect(url, server_settings={"chartgate.tenant": "main"})
    try:
        rows: list[Any] = await connection.fetch(query)
        return rows
    finally:
        await connection.close()


async def proposal_states(rig: Rig) -> dict[str, str]:
    """Status by proposal id, from the store itself."""
    rows = await store_rows(rig, "SELECT id::text, status FROM proposal")
    return {row["id"]: row["status"] for row in rows}


async def count(campaign: Campaign, journal: Path) -> dict[str, Any]:
    """Holds the outside's records against ours."""
    rig = campaign.rig
    acked = {
        entry["control_id"]
        for entry in map(orjson.loads, journal.read_bytes().splitlines())
        if entry["code"] == "AA"
    }
    inbox = Counter(r["control_id"] for r in await store_rows(rig, "SELECT control_id FROM inbox"))
    unsettled = await store_rows(rig, QUEUED)
    states = await proposal_states(rig)
    effects = await rig.control("journal")
    booked = [e for e in effects if e["reference"].startswith("Appointment/")]
    created = Counter(m for e in booked if e["interaction"] == "create" for m in e["markers"])
    doubled = [m for m, n in created.items() if n > 1]
    missing = [p for p, s in states.items() if s == "verified" and created[p] != 1]
    unasked = [m for m in created if m not in states]
    stuck = [p for p, s in states.items() if s not in RESTS]
    ledger = rig.chartgate("ledger", "verify", "--json")
    lost = acked - set(inbox)
    result = {
        "seed": campaign.seed,
        "kills": dict(campaign.kills),
        "ready_again_s_max": round(max(campaign.ready_again_s, default=0.0), 2),
        "messages_acknowledged": len(acked),
        "acknowledged_but_lost": len(lost),
        "inbox_doubled": sum(1 for n in inbox.values() if n > 1),
        "inbox_still_queued": unsettled[0]["n"],
        "bound_lost_95": 3 / max(1, len(acked)),
        "proposals": len(states),
        "proposal_states": dict(Counter(states.values())),
        "effects_doubled": len(doubled),
        "verified_without_effect": len(missing),
        "effects_without_proposal": len(unasked),
        "stuck": len(stuck),
        "bound_doubled_95": 3 / max(1, len(states)),
        "ledger_verifies": ledger.returncode == 0,
    }
    wrong = (lost, doubled, missing, unasked, stuck)
    result["held"] = bool(
        acked and states and not any(wrong) and not result["inbox_doubled"]
        and not result["inbox_still_queued"] and result["ledger_verifies"] and sum(campaign.kills.values()) > 5
    )  # fmt: skip
    return result


if __name__ == "__main__":
    main()
