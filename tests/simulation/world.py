"""One simulated world: a small hospital, a gate on it, and processes that can die and come back.

Everything random comes from the seed: ids, weather, and what the play does. Time stands still
until somebody moves it.
"""

import asyncio
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.adapters.fhir_r4.dialect import PROBED, load_dialect
from chartgate.adapters.fhir_r4.link import Link
from chartgate.adapters.fhir_r4.options import parse_options
from chartgate.config import Config, ConnectionConfig
from chartgate.demo.hospital import make_hospital, sample_patients
from chartgate.demo.hospital.app import HospitalApp
from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.scenario import Scenario
from chartgate.failpoints import disarm
from chartgate.flows import halts
from chartgate.gate import Gate, Running
from chartgate.policy.charters import compile_book
from chartgate.store.audit import AuditWriter
from chartgate.testing.clock import START, FakeClock
from tests.flows.clinics import AT_ONCE, CHARTERS, EHR, OPERATOR, sample_charter
from tests.simulation.network import URL_BASE, SimSession, SimSink
from tests.simulation.store import SimDatabase, SimPool, Trouble

SLOTS = 3
LAGGING = ("read_your_writes",)  # what a probe has not seen of a hospital that lags
OPTIONS = {
    "url": f"{URL_BASE}/fhir",
    "dialect": "sample-hospital",
    "retries": 0,
    "allow_http": True,
}


class Killed(BaseException):
    """The process ends here, without a word."""


def die() -> None:
    """What a failpoint does in a simulation."""
    raise Killed


class World:
    """What stays when a process dies (store, hospital, time), and what does not (`gate`)."""

    def __init__(self, pool: SimPool, seed: int, folder: Path, *, tenant: str = "") -> None:
        self.seed = seed
        self.folder = folder
        self.pool = pool
        self.tenant = f"{tenant or 'seed'}-{seed}"
        self.clock = FakeClock()
        self.trouble = Trouble()
        self.lags = seed % 5 == 0  # every fifth hospital shows its writes late
        chart = Chart(clock=self.clock)
        self.scenario = fill(chart)
        self.app = HospitalApp(chart, clients=(), url=URL_BASE, clock=self.clock)
        self.session = SimSession(self.app, str(seed))
        self.restarts = 0
        self._steady_s = 0.0
        self.gate: Gate
        self._audit: AuditWriter | None = None
        self._others = asyncio.all_tasks()

    async def open(self) -> None:
        """A new tenant, at stage suggest."""
        await self.pool.serve(self.tenant)
        await self.start()
        for name in CHARTERS:
            await halts.set_stage(self.gate, OPERATOR, name, "suggest")

    def steady_s(self) -> float:
        """Seconds of a clock that nobody sets back."""
        self._steady_s = max(self._steady_s, (self.clock() - START).total_seconds() + 1e6)
        return self._steady_s

    async def start(self) -> None:
        """A process starts: all that it knows is in the store."""
        database = SimDatabase(self.pool, self.tenant, self.trouble)
        self._audit = AuditWriter(database)
        await self._audit.start()
        connection = ConnectionConfig(
            name=EHR, adapter="fhir_r4", options={**OPTIONS, "breaker_failures": 1000}
        )
        options = parse_options(connection)
        link = Link(
            self.session,  # type: ignore[arg-type]  # as much of one as the adapter uses
            options,
            name=EHR,
            auth=None,
            clock=self.clock,
            monotonic=self.steady_s,
        )
        verdicts = {line: (not (self.lags and line in LAGGING), "simulated") for line in PROBED}
        adapter = FhirR4(
            link,
            options,
            dialect=load_dialect("sample-hospital"),
            verdicts=verdicts,
            clock=self.clock,
        )
        self.gate = Gate(
            config=Config(folder=self.folder, review=AT_ONCE),
            clock=self.clock,
            database=database,
            audit=self._audit,
            running=Running(charters=book()),
            sources={EHR: adapter},
            sinks={EHR: SimSink(adapter)},
        )

    async def restart(self) -> None:
        """The process died; another one starts and knows nothing."""
        await self.close()
        self.restarts += 1
        await self.start()

    async def close(self) -> None:
        """The process ends. What it still noted down by the way is waited for, so that the same
        seed gives the same trace."""
        disarm()
        self.trouble.lose_store = ""
        mine = {t for t in asyncio.all_tasks() - self._others if t.get_name() != "audit-writer"}
        mine.discard(asyncio.current_task())
        if mine:
            await asyncio.wait(mine)
        if self._audit is not None:
            await self._audit.close()
            await self.gate.database.close()
            self._audit = None

    def resource(self, reference: str) -> dict[str, Any]:
        """What stands in the chart now."""
        resource = self.app.chart.current[reference].resource
        assert resource is not None
        return dict(resource)


@cache
def book() -> Any:
    """The sample charters, compiled once."""
    return compile_book([sample_charter(name) for name in CHARTERS])


@cache
def _sample() -> tuple[Scenario, tuple[dict[str, Any], ...]]:
    """The few resources of the sample hospital that a play is about."""
    clock = FakeClock()
    hospital = make_hospital(
        host="sim", port=80, fill=sample_patients(today=clock().date()), clock=clock
    )
    story = hospital.scenario
    wanted = [
        story.booking_patient,
        story.practitioner,
        story.schedule,
        story.visit,
        story.visit_patient,
        story.authorisation,
        *story.free_slots[:SLOTS],
    ]
    for reference in tuple(wanted):
        wanted += _references(hospital.resource(reference))
    known = dict.fromkeys(r for r in wanted if r in hospital.chart.current)
    return story, tuple(hospital.resource(r) for r in known)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def fill(chart: Chart) -> Scenario:
    """Puts these few into a chart."""
    story, resources = _sample()
    for resource in resources:
        chart.put(f"{resource['resourceType']}/{resource['id']}", resource, method="POST")
    return story


@contextmanager
def seeded_ids(seed: int) -> Iterator[None]:
    """All ids that the flows make come from the seed."""
    dice = random.Random(f"ids/{seed}")
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("chartgate.flows") and hasattr(module, "uuid4")
    ]
    kept = [(module, module.uuid4) for module in modules]
    for module in modules:
        module.uuid4 = lambda: UUID(int=dice.getrandbits(128), version=4)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, original in kept:
            module.uuid4 = original  # type: ignore[attr-defined]


def later(clock: FakeClock, seconds: float) -> None:
    """Moves time, forwards or backwards."""
    clock.now += timedelta(seconds=seconds)
