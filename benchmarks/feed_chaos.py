"""kill -9 of listener, workers and PostgreSQL at random, under a feed, and what became of it.

Several sending systems keep tens of messages under way and send again whatever is not answered.
Some messages come twice, late, broken, or under a used control id. Afterwards the senders' own logs
are held against the inbox, the events, the record and the counts that `chartgate feed status`
shows; then the record is made again from the inbox, and must come out the same.

`python -m benchmarks.feed_chaos [--messages 300000] [--patients 1200] [--seed N]`
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import psutil
import uvloop

from benchmarks.chaos import ready, store_rows
from benchmarks.feed_senders import Kind, Sender, make_senders
from chartgate.cli.session import gate_on
from chartgate.config import load_config
from chartgate.demo.rig import Rig
from chartgate.demo.sender import SendReport, send_all
from chartgate.flows import rebuilds
from chartgate.model.principal import Process
from chartgate.store.database import open_database
from chartgate.store.embedded import running_url
from chartgate.store.record import RecordStore
from chartgate.store.vault_keys import MasterKeys

FEED = "north-adt"
SENDERS = 8
WINDOW = 30
KILL_EVERY_S = (0.5, 5.0)  # from when all is up again: most of the time messages flow
VICTIMS = ("listen", "work", "second worker", "postgres")
KILLS_MIN = 3
GIVE_UP_S = 120.0
READY_WITHIN_S = 60.0
SETTLE_WITHIN_S = 900.0
SECOND = "worker-2"
STATUSES = ("delivered", "queued", "quarantined", "filtered")
INBOX = "SELECT id, sender, control_id, digest, status, flags, reason FROM inbox"
QUARANTINED = (Kind.NOBODY, Kind.BIRTH_DATE)


@dataclass
class Campaign:
    """What is under way, and what has happened so far."""

    rig: Rig
    senders: list[Sender]
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    ready_again_s: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def main() -> None:
    """Runs one campaign; exit code 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000, help="control ids in all")
    parser.add_argument("--patients", type=int, default=1_200)
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0: all it can")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    senders = make_senders(
        messages=options.messages, senders=SENDERS, patients=options.patients, seed=options.seed
    )
    with tempfile.TemporaryDirectory(prefix="chartgate-feed-chaos-") as folder:
        rig = Rig(Path(folder) / "rig")
        campaign = Campaign(rig, senders, random.Random(options.seed))
        try:
            rig.initialise()
            rig.start_chartgate()
            print(f"seed {options.seed}: {options.messages} messages of {options.patients} "
                  "patients, processes killed at random", flush=True)  # fmt: skip
            result = {"seed": options.seed, **uvloop.run(run(campaign, options.rate))}
        finally:
            rig.discard()
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["held"] else 1)


async def run(campaign: Campaign, rate: float) -> dict[str, Any]:
    """Load and kills together, until nothing is queued; then calm, and the count."""
    started = time.monotonic()
    start_second_worker(campaign)
    killing = asyncio.create_task(kill_at_random(campaign))
    reports = await asyncio.gather(*(send(campaign, one, rate) for one in campaign.senders))
    campaign.seconds["sending"] = _since(started)
    await settle(campaign)
    killing.cancel()
    with suppress(asyncio.CancelledError):
        await killing
    await all_up(campaign)
    await settle(campaign)
    campaign.seconds["until_settled"] = _since(started)
    await stop_second_worker(campaign)
    result = await count(campaign, reports)
    campaign.seconds["in_all"] = _since(started)
    return result | {"seconds": campaign.seconds}


async def send(campaign: Campaign, sender: Sender, rate: float) -> SendReport:
    """Everything of one system over its own connection."""
    return await send_all(
        sender.messages(), "127.0.0.1", campaign.rig.mllp_port, 1, WINDOW, insist=True,
        give_up_s=GIVE_UP_S, rate=rate / SENDERS, on_ack=sender.heard,
    )  # fmt: skip


def start_second_worker(campaign: Campaign) -> None:
    """Unless it runs: it ends by itself while PostgreSQL is away, and nobody else starts it."""
    process = campaign.rig.processes.get(SECOND)
    if process is None or process.poll() is not None:
        campaign.rig.start(SECOND, ["chartgate", "--config", str(campaign.rig.config), "work"])


async def kill_at_random(campaign: Campaign) -> None:
    """SIGKILL to one process at a time, after a random pause each."""
    while True:
        await asyncio.sleep(campaign.chance.uniform(*KILL_EVERY_S))
        victim = campaign.chance.choice(VICTIMS)
        found = _process(campaign, victim)
        if found is not None:
            with suppress(psutil.NoSuchProcess):
                found.kill()
                campaign.kills[victim] += 1
        started = time.monotonic()
        await all_up(campaign)
        campaign.ready_again_s.append(time.monotonic() - started)


async def all_up(campaign: Campaign) -> None:
    """Until the gateway is ready, the listener takes connections, and the workers run."""
    await ready(campaign.rig)
    async with asyncio.timeout(READY_WITHIN_S):
        while True:
            start_second_worker(campaign)
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", campaign.rig.mllp_port)
                writer.close()
                return
            await asyncio.sleep(0.05)


def _process(campaign: Campaign, victim: str) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        if victim == "second worker":
            return psutil.Process(campaign.rig.processes[SECOND].pid)
        for child in psutil.Process(campaign.rig.processes["chartgate"].pid).children():
            line = child.cmdline() or [""]
            if victim == line[-1] or (victim == "postgres" and "postgres" in line[0]):
                return child
    return None


# asyncpg says the last two where the server is killed between its steps.
STORE_AWAY = (
    asyncpg.PostgresError,
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


async def settle(campaign: Campaign) -> None:
    """Until nothing is queued and all is counted, or the time for that is over."""
    deadline = time.monotonic() + SETTLE_WITHIN_S
    query = "SELECT EXISTS (SELECT FROM inbox WHERE status = 'queued') AS n"
    while time.monotonic() < deadline:
        with suppress(AssertionError, *STORE_AWAY):
            if not (await store_rows(campaign.rig, query))[0]["n"]:
                return
        await asyncio.sleep(0.5)


async def stop_second_worker(campaign: Campaign) -> None:
    """What follows is looked at in calm."""
    campaign.rig.processes[SECOND].terminate()
    await asyncio.to_thread(campaign.rig.processes[SECOND].wait, 60)


async def opened(campaign: Campaign, wanted: Sequence[tuple[str, bytes]]) -> dict[str, bytes]:
    """Versions of the record, which are sealed in the store."""
    url = running_url(campaign.rig.folder / "var")
    assert url, "PostgreSQL does not run"
    masters = MasterKeys(campaign.rig.folder / "keys" / "vault.key")
    database = await open_database(url, tenant="main", masters=masters)
    try:
        return await RecordStore(database).versions("north-adt", wanted)
    finally:
        await database.close()


async def count(campaign: Campaign, reports: Sequence[SendReport]) -> dict[str, Any]:
    """Holds the senders' logs against ours. Every entry of `wrong` has to be 0."""
    inbox = {
        (row["sender"].partition("|")[0], row["control_id"]): row
        for row in await store_rows(campaign.rig, INBOX)
    }
    kept = (await store_rows(campaign.rig, "SELECT count(*) AS n FROM inbox"))[0]["n"]
    events = await store_rows(campaign.rig, "SELECT id, inbox_id FROM event ORDER BY id")
    acknowledged = sum(len(sender.first_acks) for sender in campaign.senders)
    inverted, crossed = inversions(campaign.senders, inbox, [row["inbox_id"] for row in events])
    wrong = {
        "senders_unanswered": sum(report.unanswered for report in reports),
        "answers_unexpected": sum(len(sender.unexpected) for sender in campaign.senders),
        **losses(campaign.senders, inbox),
        "inbox_rows_doubled": kept - len(inbox),
        "effects_doubled": len(events) - len({row["inbox_id"] for row in events}),
        "effects_missing": sum(r["status"] == "delivered" for r in inbox.values()) - len(events),
        "inversions_taken": inverted,
        "inversions_processed": crossed,
        **outcomes(campaign.senders, inbox),
        "collisions_missing": await collisions_missing(campaign),
        "records_not_as_sent": await records_wrong(campaign),
        **await conservation(campaign, inbox.values()),
        "rebuilt_resources_differ": await rebuilt_differently(campaign),
        "ledger_fails": int(campaign.rig.chartgate("ledger", "verify", "--json").returncode != 0),
    }
    return {
        "kills": dict(campaign.kills),
        "ready_again_s_max": round(max(campaign.ready_again_s, default=0.0), 2),
        "acknowledged": acknowledged,
        "answers": dict(sum((sender.answers for sender in campaign.senders), Counter())),
        "sent_again_without_answer": sum(report.resent for report in reports),
        "sent_again_after_an_answer": sum(sender.repeats for sender in campaign.senders),
        "inbox": dict(Counter(row["status"] for row in inbox.values())),
        "late": sum("late" in row["flags"] for row in inbox.values()),
        "bound_95": 3 / max(1, acknowledged),  # of each rate that was seen as 0
        "wrong": wrong,
        "held": not any(wrong.values()) and acknowledged > 0 and _enough(campaign),
    }


def _enough(campaign: Campaign) -> bool:
    return sum(campaign.kills.values()) >= KILLS_MIN


def losses(senders: Iterable[Sender], inbox: dict[tuple[str, str], Any]) -> dict[str, int]:
    """What was acknowledged and is not there as it was sent, and what nobody sent."""
    known = {
        (sender.name, control_id): sent
        for sender in senders
        for control_id, sent in sender.sent.items()
    }
    kept = {key: row["digest"] for key, row in inbox.items()}
    return {
        "acknowledged_but_lost": sum(
            one.acknowledged and kept.get(key) != one.digest for key, one in known.items()
        ),
        "never_acknowledged": sum(not one.acknowledged for one in known.values()),
        "inbox_rows_nobody_sent": len(kept.keys() - known.keys()),
    }


def inversions(
    senders: Iterable[Sender], inbox: dict[tuple[str, str], Any], events: Sequence[int]
) -> tuple[int, int]:
    """Within patients: ids against the order of the first acknowledgements, and the order of
    events against that of ids."""
    taken: dict[str, list[int]] = defaultdict(list)
    patients: dict[int, tuple[str, ...]] = {}
    for sender in senders:
        for control_id in sender.first_acks:
            row = inbox.get((sender.name, control_id))
            if row is not None:
                patients[row["id"]] = sender.sent[control_id].patients
                for patient in patients[row["id"]]:
                    taken[patient].append(row["id"])
    processed: dict[str, list[int]] = defaultdict(list)
    for message in events:
        for patient in patients.get(message, ()):
            processed[patient].append(message)
    return sum(map(_descents, taken.values())), sum(map(_descents, processed.values()))


def _descents(ids: Sequence[int]) -> int:
    return sum(after < before for before, after in pairwise(ids))


def outcomes(senders: Iterable[Sender], inbox: dict[tuple[str, str], Any]) -> dict[str, int]:
    """Messages that did not become what they had to: each by its kind."""
    wrong: Counter[str] = Counter()
    for sender in senders:
        for control_id, sent in sender.sent.items():
            row = inbox.get((sender.name, control_id))
            if row is None:
                continue
            wrong["late_not_flagged"] += sent.kind is Kind.LATE and "late" not in row["flags"]
            wrong["flagged_late_but_not"] += sent.kind is not Kind.LATE and "late" in row["flags"]
            wrong["outcomes_not_as_sent"] += row["status"] != _status_of(sent.kind)
            wrong["set_aside_though_innocent"] += "workers ended" in (row["reason"] or "")
    return dict(wrong)


def _status_of(kind: Kind) -> str:
    if kind in QUARANTINED:
        return "quarantined"
    return "filtered" if kind is Kind.UNSUPPORTED else "delivered"


async def collisions_missing(campaign: Campaign) -> int:
    """Messages under a used control id that were refused, and whose bytes are not kept."""
    query = "SELECT digest FROM quarantine WHERE reason_class = 'control-id collision'"
    kept = {row["digest"].hex() for row in await store_rows(campaign.rig, query)}
    return len(kept ^ {digest for sender in campaign.senders for digest in sender.collisions})


async def records_wrong(campaign: Campaign) -> int:
    """Patients whose record does not say what their last good message said."""
    query = """SELECT 'Patient/' || id AS reference, digest FROM record
               WHERE resource_type = 'Patient' AND connection = 'north-adt'"""
    wanted = [(row["reference"], row["digest"]) for row in await store_rows(campaign.rig, query)]
    bodies = await opened(campaign, wanted)
    found = {name.partition("/")[2]: orjson.loads(body) for name, body in bodies.items()}
    given = {mrn: name for sender in campaign.senders for mrn, name in sender.given.items()}
    return sum(
        found.get(mrn, {}).get("name", [{}])[0].get("given") != [name]
        for mrn, name in given.items()
    )


async def conservation(campaign: Campaign, rows: Iterable[Any]) -> dict[str, int]:
    """In = delivered + queued + quarantined + filtered: of the rows, and as `feed status` says."""
    kept = Counter(row["status"] for row in rows)
    done = campaign.rig.chartgate("feed", "status", "--recount", "--json")
    said = next(feed for feed in json.loads(done.stdout)["feeds"] if feed["connection"] == FEED)
    return {
        "still_queued": kept["queued"],
        "counts_not_as_rows": sum(said[status] != kept[status] for status in STATUSES),
        "not_conserved": abs(said["received"] - sum(said[status] for status in STATUSES)),
        "status_complains": int(done.returncode != 0),
    }


async def rebuilt_differently(campaign: Campaign) -> int:
    """Resources that come out otherwise when the record is made again from the inbox, in calm."""
    started = time.monotonic()
    url = running_url(campaign.rig.folder / "var")
    assert url, "PostgreSQL does not run"
    async with gate_on(load_config(campaign.rig.config), url) as gate:
        await rebuilds.start(gate, Process(id="cli/campaign"), FEED, overrides=None)
        await rebuilds.run(gate, FEED, progress=_quietly)
        report = await rebuilds.report(gate, FEED, progress=_quietly)
    campaign.seconds["rebuild"] = _since(started)
    for change in report.changes:
        print(f"differs: {change}", flush=True)
    return sum(change.count for change in report.changes) + report.remaining


def _quietly(_done: int, _total: int) -> None:
    """Nobody watches."""


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


if __name__ == "__main__":
    main()
