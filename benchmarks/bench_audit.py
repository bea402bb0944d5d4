"""The audit at one million events: each question in under two seconds, and what indexes cost.

Events as several charters leave them over a year, on a real PostgreSQL with its durability on.
The append rate is of batches of events, each batch durable before the next (what the audit writer
does under load), with all indexes, at the beginning and at the end.

`python -m benchmarks.bench_audit [--count 1000000] [--quick] [--out FILE]`; exit status 1 beyond a limit.
"""

import argparse
import random
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks.own import own_postgres, tell
from chartgate.clock import utc_now
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.store.audit_search import AuditSearch, Criteria
from chartgate.store.database import Database, append_audit_events, open_database

BATCH = 500
QUICK = 50_000  # events
PATIENTS = 20_000
AGENTS = 40
SITES = ("north-clinic", "south-clinic", "east-clinic")
ACTIONS = ("fhir.read",) * 70 + ("fhir.search",) * 20 + ("proposal.submit",) * 9 + ("token.issue",)
SEARCH_S_MAX = 2.0
APPEND_MIN = 10_000
PAGE = 101


def event(dice: random.Random, at: datetime) -> AuditEvent:
    """One of a year's."""
    action = dice.choice(ACTIONS)
    several = action == "fhir.search" and dice.random() < 0.3
    patients = tuple(f"Patient/{dice.randrange(PATIENTS)}" for _ in range(5)) if several else None
    refused = dice.random() < 0.02
    return AuditEvent(
        recorded=at,
        action=action,
        agent=f"client:agent-{min(dice.randrange(AGENTS), dice.randrange(AGENTS))}",
        outcome=Outcome.DENIED if refused else Outcome.SUCCESS,
        entities=(f"Slot/{dice.randrange(100_000)}",),
        patient=None if several else f"Patient/{dice.randrange(PATIENTS)}",
        patients=patients,
        site=dice.choice(SITES),
        charter="clinic-booking",
        charter_digest="ab" * 32,
        purpose="TREAT",
        interaction="0f0e0d0c-0000-4000-8000-000000000001",
        rule="clinic-booking/read",
        decision="cd" * 16,
        network="192.0.2.9",
        request="0123456789abcdef",
    )


async def grow(database: Database, count: int, dice: random.Random) -> list[tuple[int, float]]:
    """So many events over a year; (how many, seconds) of each tenth."""
    now, done, tenths = utc_now(), 0, []
    begun, part = time.perf_counter(), 0
    while done < count:
        ages = [(count - done - n) / count * 365 for n in range(BATCH)]
        events = [event(dice, now - timedelta(days=age)) for age in ages]
        async with database.bookkeeping() as connection:
            await append_audit_events(connection, database.tenant, events)
        done, part = done + BATCH, part + BATCH
        if part >= count / 10:
            tenths.append((part, time.perf_counter() - begun))
            begun, part = time.perf_counter(), 0
    return tenths


async def append_rate(database: Database, dice: random.Random, *, seconds: float) -> int:
    """Durable events a second in batches; the events are made beforehand."""
    batches = [[event(dice, utc_now()) for _ in range(BATCH)] for _ in range(20)]
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        async with database.bookkeeping() as connection:
            await append_audit_events(
                connection, database.tenant, batches[done // BATCH % len(batches)]
            )
        done += BATCH
    return round(done / (time.perf_counter() - begun))


def questions() -> dict[str, Criteria]:
    """One of each kind, the kind ones and those that find little."""
    now = utc_now()
    month = now - timedelta(days=30)
    return {
        "patient": Criteria(patient="Patient/77"),
        "patient, none such": Criteria(patient="Patient/none"),
        "patient and time": Criteria(patient="Patient/77", since=month),
        "agent": Criteria(agent="client:agent-3"),
        "agent, rare": Criteria(agent=f"client:agent-{AGENTS - 1}"),
        "agent, none such": Criteria(agent="client:none"),
        "action": Criteria(action="fhir.read"),
        "action, rare": Criteria(action="token.issue"),
        "action, none such": Criteria(action="ledger.rewound"),
        "time": Criteria(since=month, until=month + timedelta(hours=1)),
        "everything": Criteria(),
        "refused": Criteria(outcome=Outcome.DENIED),
        "failed, none such": Criteria(outcome=Outcome.FAILED),
        "site": Criteria(site="south-clinic"),
        "site, none such": Criteria(site="nowhere"),
        "agent and action": Criteria(agent="client:agent-3", action="token.issue"),
        "agent and refused": Criteria(agent="client:agent-3", outcome=Outcome.DENIED),
        "agent and site, none such": Criteria(agent="client:agent-3", site="nowhere"),
        "agent and patient": Criteria(agent="client:agent-3", patient="Patient/77"),
        "site and action, old": Criteria(
            site="north-clinic", action="fhir.search", until=now - timedelta(days=300)
        ),
    }


async def asked(database: Database) -> dict[str, dict[str, float]]:
    """Seconds of each question, three times over: the first is the coldest."""
    search, figures = AuditSearch(database), {}
    for name, criteria in questions().items():
        waits, found = [], 0
        for _ in range(3):
            begun = time.perf_counter()
            found = len(await search.search(criteria, count_max=PAGE))
            waits.append(time.perf_counter() - begun)
        figures[name] = {
            "found": found,
            "first_s": round(waits[0], 4),
            "worst_s": round(max(waits), 4),
        }
    return figures


async def measure(url: str, *, count: int) -> dict[str, Any]:
    """All figures of one run."""
    dice = random.Random(1)
    database = await open_database(url, tenant="main")
    try:
        small = await append_rate(database, dice, seconds=3.0)
        tenths = await grow(database, count, dice)
        large = await append_rate(database, dice, seconds=5.0)
        figures = await asked(database)
        async with database.connection() as connection:
            size = await connection.fetchval("SELECT pg_total_relation_size('audit_event')")
    finally:
        await database.close()
    return {
        "cores": psutil.cpu_count(),
        "events": count,
        "append_per_s_empty": small,
        "append_per_s_full": large,
        "grown_per_s_last_tenth": round(tenths[-1][0] / tenths[-1][1]),
        "bytes_per_event": round(size / count),
        "searches": figures,
        "worst_search_s": max(each["worst_s"] for each in figures.values()),
    }


def main() -> int:
    """Runs all of it on a PostgreSQL of its own, and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="default 1000000")
    parser.add_argument("--quick", action="store_true", help="50000 events")
    parser.add_argument("--out", type=Path, help="also write the figures there")
    options = parser.parse_args()
    with own_postgres() as (_, url):
        figures = uvloop.run(measure(url, count=QUICK if options.quick else options.count))
    held = figures["worst_search_s"] < SEARCH_S_MAX and figures["append_per_s_full"] >= APPEND_MIN
    tell({**figures, "held": held}, options.out)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
