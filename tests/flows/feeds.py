"""A gate with one HL7 v2 feed and one subscribed AI client, on a real store."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chartgate.clock import Clock
from chartgate.config import ClientConfig, Config, ConnectionConfig, WorkerConfig
from chartgate.flows import intake
from chartgate.formats.hl7v2 import parse
from chartgate.gate import Gate, Running
from chartgate.model.message import Received
from chartgate.policy.charters import compile_book
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database
from tests.flows.clinics import SITE, sample_charter

FEED = "north-adt"
CLIENT = "slot-picker"
CHARTER = "clinic-booking"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def feed_gate(
    database: Database,
    clock: Clock,
    folder: Path,
    *,
    notify_url: str = "",
    more_clients: Mapping[str, str] | None = None,
    **options: Any,
) -> Gate:
    """A gate whose feed has these options; `more_clients` are names and notification URLs."""
    (folder / "client.whsec").write_text(SECRET)
    clients = {CLIENT: notify_url, **(more_clients or {})}
    charter = replace(
        sample_charter(CHARTER), clients=tuple(clients), events=("SIU^S12", "ADT^A08")
    )
    config = Config(
        folder=folder,
        worker=WorkerConfig(notify_timeout_s=0.5),
        connections={
            FEED: ConnectionConfig(name=FEED, adapter="hl7v2_mllp", site=SITE, options=options)
        },
        clients={
            name: ClientConfig(
                name=name, jwks_file="", notify_url=url, notify_secret_file="client.whsec"
            )
            for name, url in clients.items()
        },
    )
    return Gate(
        config=config,
        clock=clock,
        database=database,
        audit=AuditWriter(database),
        running=Running(charters=compile_book([charter])),
        sources={},
        sinks={},
    )


async def accept(gate: Gate, *raws: bytes, flaw: str = "") -> list[str]:
    """MSA-1 of each answer; "" where there is none."""
    batch = [Received(connection=FEED, raw=raw, flaw=flaw) for raw in raws]
    answers = await intake.accept(gate, batch)
    return [parse(answer).value("MSA", 1) or "" if answer else "" for answer in answers]


async def actions(database: Database) -> Counter[str]:
    """How often each was audited."""
    query = "SELECT action FROM audit_event WHERE tenant = $1"
    return Counter(row["action"] for row in await database.fetch(query))


async def quarantine(gate: Gate) -> list[tuple[str, str, int]]:
    """Class, position and count of each row, the first first."""
    query = "SELECT reason_class, position, count FROM quarantine WHERE tenant = $1 ORDER BY id"
    return [tuple(row) for row in await gate.database.fetch(query)]
