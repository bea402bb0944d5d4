"""What breaks while somebody reads: whatever it is, nobody sees what they may not.

Thousands of reads and searches, each with one thing that breaks at one step of the walk: the system
that holds the consents is away, hangs, or gives half an answer; its copies are purged; the consent
is revoked; the audit trail is locked, its disk is full, its connections are cut; the whole of
PostgreSQL is killed. Afterwards, from outside: each byte that came out has its durable audit event
with that very digest, and a patient's standing permission that nobody had taken back when the event
was written. Reads where nothing breaks must come through, so that refusing all proves nothing.

`python -m benchmarks.governance_faults [--count N] [--seed N] [--out FILE]`
"""

import argparse
import asyncio
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import uvloop

from benchmarks.own import tell
from chartgate.clock import utc_now
from chartgate.config import SiteConfig
from chartgate.errors import ChartgateError, SourceUnreachable, Unavailable
from chartgate.flows import reads, searches
from chartgate.flows.consent_records import revoke
from chartgate.gate import Gate
from chartgate.model.principal import Client, Process
from chartgate.model.resource import SearchPage
from chartgate.policy import consent as consent_policy
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database, open_database
from chartgate.store.embedded import EmbeddedServer, start_embedded
from chartgate.store.lookups import Lookups
from chartgate.store.migrate import migrate
from chartgate.store.vault_keys import new_masters
from chartgate.testing.gates import CHARTER, MemorySource, open_test_gate

COUNT = 10_000
SITE, EHR = "north-clinic", "north-ehr"
CLI = Process(id="cli")
CLIENT = Client(id="slot-picker", charter="clinic-booking", scopes=("system/Condition.rs",))
RULE = b"""reads:
  Condition: {search: [subject], elements: [code, subject], fresh: live}
"""
CANARY = "canary-7c1e"  # stands in each resource, and in no refusal
PATIENCE_S = 0.25  # with which the walk waits for consents and audit: hanging is tried often
TRIES = 12  # of what a connection that was cut off earlier may spoil
STEPS = 6  # places where something can break in one walk; beyond the last, nothing does
KILL_EVERY = 1_000  # reads between two kills of PostgreSQL
SCENARIOS = ("permit", "permit", "permit", "deny", "none", "revoked")
FAULTS = (
    "nothing", "consents-away", "consents-hang", "consents-half", "copies-purged", "cache-purged",
    "revoked-now", "audit-locked", "disk-full", "cut-off",
)  # fmt: skip
WITHOUT_CONSENTS = ("consents-away", "consents-hang", "consents-half")
CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"

FULL_DISK = """
GRANT USAGE ON SCHEMA public TO PUBLIC;
CREATE TABLE fault (full_disk boolean NOT NULL);
INSERT INTO fault VALUES (false);
GRANT SELECT ON fault TO PUBLIC;
CREATE FUNCTION fail_when_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT full_disk FROM fault) THEN
    RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER full_audit BEFORE INSERT ON audit_event
  FOR EACH ROW EXECUTE FUNCTION fail_when_full();
CREATE TRIGGER full_consents BEFORE INSERT OR UPDATE ON consent_state
  FOR EACH ROW EXECUTE FUNCTION fail_when_full();
CREATE TRIGGER full_record BEFORE INSERT ON record_version
  FOR EACH ROW EXECUTE FUNCTION fail_when_full();
"""


class Ehr(MemorySource):
    """Holds the chart and the consents; can be away, hang, or give half of them."""

    fault_of_consents = ""

    async def search(self, resource_type: str, criteria: Any, *, count_max: int) -> SearchPage:
        """As the port says."""
        if resource_type != "Consent":
            return await super().search(resource_type, criteria, count_max=count_max)
        if self.fault_of_consents == "consents-away":
            raise SourceUnreachable("away")
        if self.fault_of_consents == "consents-hang":
            await asyncio.sleep(3600)
        page = await super().search(resource_type, criteria, count_max=count_max)
        return replace(page, complete=self.fault_of_consents != "consents-half")


@dataclass
class Plan:
    """One read, and what breaks at which step of it."""

    patient: str
    scenario: str
    fault: str
    step: int
    search: bool
    struck: bool = False
    struck_before_audit: bool = False
    steps: int = 0
    audited: bool = False
    tries: int = 0

    @property
    def is_calm(self) -> bool:
        """Whether nothing broke that could hinder an answer."""
        return self.fault in ("nothing", "cache-purged") or not self.struck


@dataclass
class Rig:
    """Everything that a campaign plays with."""

    gate: Gate
    ehr: Ehr
    outside: asyncpg.Connection
    server: EmbeddedServer
    plan: Plan | None = None
    undo: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def step(self, *, audit: bool = False) -> None:
        """The walk comes to a place where something can break."""
        plan = self.plan
        if plan is None:
            return
        here = plan.steps == plan.step
        plan.steps += 1
        if here and not plan.struck:
            plan.struck = True
            plan.struck_before_audit = not plan.audited
            await self._strike(plan)
        plan.audited = plan.audited or audit

    async def _strike(self, plan: Plan) -> None:
        if plan.fault in WITHOUT_CONSENTS:
            self.ehr.fault_of_consents = plan.fault
            await self._purge()
        elif plan.fault == "copies-purged":
            await self._purge()
        elif plan.fault == "cache-purged":
            consent_policy._compiled.cache_clear()
        elif plan.fault == "revoked-now":
            self.plan = None  # the revocation's own steps are none of the walk's
            await revoked(self, plan)
            self.plan = plan
        elif plan.fault == "audit-locked":
            await self._lock()
        elif plan.fault == "disk-full":
            await self.outside.execute("UPDATE fault SET full_disk = true")
            self.undo.append(self._empty_disk)
        elif plan.fault == "cut-off":
            await self.outside.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'chartgate' AND pid <> pg_backend_pid()"
            )

    async def _purge(self) -> None:
        await self.outside.execute("DELETE FROM consent_state")

    async def _lock(self) -> None:
        transaction = self.outside.transaction()
        await transaction.start()
        await self.outside.execute("LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE")
        self.undo.append(transaction.rollback)

    async def _empty_disk(self) -> None:
        await self.outside.execute("UPDATE fault SET full_disk = false")

    async def mend(self) -> None:
        """Everything works again."""
        self.ehr.fault_of_consents = ""
        while self.undo:
            await self.undo.pop()()


@contextmanager
def trapped(rig: Rig) -> Iterator[None]:
    """Meanwhile each outside step of a walk goes through `rig.step` first."""
    fetch, insert, answer = Database.connection, AuditWriter._insert, Lookups._answer
    read, search = rig.ehr.read, rig.ehr.search

    @asynccontextmanager
    async def connection(database: Database) -> AsyncIterator[Any]:
        await rig.step()
        async with fetch(database) as held:
            yield held

    async def inserting(writer: AuditWriter, held: Any, batch: Any) -> Any:
        await rig.step(audit=True)
        return await insert(writer, held, batch)

    async def answering(lookups: Lookups, held: Any, batch: Any) -> None:
        await rig.step()
        await answer(lookups, held, batch)

    async def reading(*arguments: Any, **options: Any) -> Any:
        await rig.step()
        return await read(*arguments, **options)

    async def searching(*arguments: Any, **options: Any) -> Any:
        await rig.step()
        return await search(*arguments, **options)

    Database.connection = connection  # type: ignore[method-assign, assignment]
    AuditWriter._insert = inserting  # type: ignore[method-assign, assignment]
    Lookups._answer = answering  # type: ignore[method-assign, assignment]
    rig.ehr.read = reading  # type: ignore[method-assign]
    rig.ehr.search = searching  # type: ignore[method-assign]
    try:
        yield
    finally:
        Database.connection = fetch  # type: ignore[method-assign]
        AuditWriter._insert = insert  # type: ignore[method-assign]
        Lookups._answer = answer  # type: ignore[method-assign]


def condition(patient: str) -> dict[str, Any]:
    """One resource of a patient."""
    return {
        "resourceType": "Condition",
        "id": f"c{patient}",
        "subject": {"reference": f"Patient/{patient}"},
        "code": {"text": CANARY, "coding": [{"code": CANARY}]},
    }


def consent(patient: str, kind: str) -> dict[str, Any]:
    """What a patient says."""
    return {
        "resourceType": "Consent",
        "id": f"s{patient}",
        "status": "active",
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": "2020-01-01T00:00:00Z",
        "policy": [{"uri": "http://example.org/policy"}],
        "provision": {"type": kind},
    }


async def revoked(rig: Rig, plan: Plan) -> None:
    """Surely: connections that were cut off earlier are found out one by one."""
    for _ in range(TRIES):
        try:
            return await revoke(rig.gate, CLI, SITE, f"Patient/{plan.patient}", reason="asked to")
        except Unavailable:
            pass
    raise AssertionError("the store does not come back")


async def play(rig: Rig, plan: Plan) -> tuple[bytes, str]:
    """The bytes that came out, else what was said instead."""
    rig.ehr.put(condition(plan.patient))
    if plan.scenario != "none":
        rig.ehr.put(consent(plan.patient, "deny" if plan.scenario == "deny" else "permit"))
    if plan.scenario == "revoked":
        await revoked(rig, plan)
    rig.plan = plan
    try:
        if plan.search:
            asked = [("subject", f"Patient/{plan.patient}")]
            answer = await searches.search(
                rig.gate, CLIENT, SITE, "Condition", asked, interaction=None
            )
        else:
            answer = await reads.read(
                rig.gate, CLIENT, SITE, "Condition", f"c{plan.patient}",
                interaction=None, if_none_match=None,
            )  # fmt: skip
    except ChartgateError as error:
        return b"", f"{type(error).__name__}: {error}"
    finally:
        rig.plan = None
        await rig.mend()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling(), "what failed left the request cancelled in part"
    return answer.body, ""


async def wrong(rig: Rig, plan: Plan, body: bytes, said: str) -> str:
    """What should not have happened; empty: nothing."""
    if CANARY in said:
        return "a refusal holds patient data"
    if CANARY.encode() not in body:
        return "refused without a cause" if plan.is_calm and plan.scenario == "permit" else ""
    if plan.scenario != "permit":
        return f"shown though the patient's consent is: {plan.scenario}"
    if plan.fault == "revoked-now" and plan.struck and plan.struck_before_audit:
        return "shown after the revocation"
    if plan.struck and plan.step == 0 and plan.fault in WITHOUT_CONSENTS:
        return "shown though no consent was in reach"
    found = await rig.outside.fetchval(
        "SELECT count(*) FROM audit_event WHERE outcome = 'success'"
        " AND convert_from(body, 'UTF8')::json ->> 'disclosed' = $1 AND patient = $2",
        hashlib.sha256(body).hexdigest(),
        f"Patient/{plan.patient}",
    )
    return "" if found else "shown without its audit event"


async def campaign(rig: Rig, count: int, seed: int, kill_every: int) -> dict[str, Any]:
    """Plays `count` plans."""
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    mistakes: list[str] = []
    begun = told = time.monotonic()
    for number in range(count):
        if number and number % kill_every == 0:
            await kill(rig)
            outcomes["kills of PostgreSQL"] += 1
        plan = Plan(
            patient=f"p{seed}-{number}",
            scenario=chance.choice(SCENARIOS),
            fault=chance.choice(FAULTS),
            step=chance.randrange(STEPS + 1),
            search=chance.random() < 0.4,
        )
        body, said = await play(rig, plan)
        while said.startswith("Unavailable") and plan.is_calm and plan.tries < TRIES:
            # A connection that was cut off earlier; each is found out once.
            plan.tries, plan.steps, plan.struck = plan.tries + 1, 0, False
            body, said = await play(rig, plan)
        shown = CANARY.encode() in body
        outcomes["shown" if shown else "refused"] += 1
        outcomes[f"struck: {plan.fault}" if plan.struck else "nothing struck"] += 1
        if mistake := await wrong(rig, plan, body, said):
            mistakes.append(f"{number}: {mistake} ({plan.fault} at step {plan.step}; {said})")
            outcomes["WRONG"] += 1
        if time.monotonic() - told > 5:
            told = time.monotonic()
            print(f"  {number + 1} of {count}, wrong {len(mistakes)}", flush=True)
    return {
        "n": count,
        "seed": seed,
        "seconds": round(time.monotonic() - begun, 1),
        "outcomes": dict(sorted(outcomes.items())),
        "wrong": len(mistakes),
        "bound": f"{3 / count:.1e}",
        "examples": mistakes[:10],
    }


async def kill(rig: Rig) -> None:
    """PostgreSQL dies while nobody looks; a read shows nothing, until it is back."""
    os.kill(rig.server.pid, signal.SIGKILL)
    plan = Plan(patient="during", scenario="none", fault="nothing", step=STEPS, search=False)
    body, _ = await play(rig, plan)
    assert CANARY.encode() not in body, "shown while the store was dead"
    while rig.server.is_alive():  # until its end has been noticed
        await asyncio.sleep(0.01)
    await asyncio.to_thread(rig.server.restart)
    await close(rig)
    rig.outside = await look_in(rig.server)


async def close(rig: Rig) -> None:
    """The connection from outside; a kill may have made it a new one."""
    rig.outside.terminate()


async def look_in(server: EmbeddedServer) -> Any:
    """A connection that is none of the gate's, with every right."""
    admin = urlsplit(server.admin_url)._replace(path=urlsplit(server.url).path).geturl()
    return await asyncpg.connect(admin, server_settings={"chartgate.tenant": "main"})


async def run(count: int, seed: int, kill_every: int = KILL_EVERY) -> dict[str, Any]:
    """Sets everything up, and plays."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cg-faults-")))
        folder.chmod(0o711)
        server = await asyncio.to_thread(start_embedded, folder / "var")
        stack.callback(server.stop)
        await migrate(server.url)
        outside = await look_in(server)
        await outside.execute(FULL_DISK)
        database = await open_database(server.url, tenant="main", masters=new_masters())
        stack.push_async_callback(database.close)
        charter = CHARTER.replace(b"reads:\n", RULE)
        opened = await stack.enter_async_context(
            open_test_gate(database, folder=folder, clock=utc_now, charters=[charter], source=Ehr)
        )
        assert isinstance(opened.source, Ehr)
        site = SiteConfig(
            name=SITE, consent="opt-in", consent_from=EHR, consent_timeout_s=PATIENCE_S
        )
        config = replace(opened.gate.config, sites={SITE: site})
        audit = AuditWriter(database, wait_max_s=PATIENCE_S)
        await audit.start()
        stack.push_async_callback(audit.close)
        rig = Rig(
            gate=replace(opened.gate, config=config, audit=audit),
            ehr=opened.source,
            outside=outside,
            server=server,
        )
        stack.push_async_callback(close, rig)
        stack.enter_context(trapped(rig))
        return await campaign(rig, count, seed, kill_every)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--kill-every", type=int, default=KILL_EVERY)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = uvloop.run(run(options.count, options.seed, options.kill_every))
    tell(result, options.out)
    sys.exit(1 if result["wrong"] else 0)
