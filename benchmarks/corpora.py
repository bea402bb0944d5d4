"""All messages of the public corpora through the real flow: what became of each, and whether every
run gives the same bytes.

A PostgreSQL of its own; `intake.accept`, then `events.process_next` until nothing waits. It runs
three times: plain, plain again, and in a process with another zone, locale and hash seed; the
digests over all versions of all resources must agree. Exit code 1 if something does not hold.

`python -m benchmarks.corpora CORPORA [--json]`, where CORPORA is the folder with linuxforhealth,
ms-fhir-converter, cdc-phdi and simhospital.
"""

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import orjson
import structlog

from benchmarks.corpora_reasons import explanation_of, is_well_formed
from chartgate.config import Config, ConnectionConfig
from chartgate.demo.hl7v2_stream import messages_of, renumbered
from chartgate.errors import ConfigError
from chartgate.flows import events, intake
from chartgate.flows.feeds import settings_for
from chartgate.formats.canonical import canonical_bytes
from chartgate.formats.hl7v2 import parse
from chartgate.formats.r4_structure import structure_findings
from chartgate.gate import Gate, Running
from chartgate.model.message import Received
from chartgate.policy.charters import compile_book
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database, open_database
from chartgate.store.embedded import start_embedded
from chartgate.store.inbox import InboxStore
from chartgate.store.migrate import migrate
from chartgate.store.quarantine import QuarantineStore
from chartgate.store.record import RecordStore
from chartgate.store.vault_keys import new_masters
from chartgate.transform.hl7v2.bundle import message_bundle
from chartgate.transform.hl7v2.messages import SUPPORTED

SOURCES = ("linuxforhealth", "ms-fhir-converter", "cdc-phdi", "simhospital")
FEED = "corpora"
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # nothing may depend on it; see the digests
BATCH = 50
MARGIN = " " * 8
SHARE_LEAST = 0.97
ELSEWHERE = {"TZ": "Asia/Kolkata", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}
CONTROL_ID = 9  # MSH-10 among the fields of a header split at its delimiter

DEFINED = """\
The corpora repeat control ids for different contents, so each message that has one is given one of
its own. Those that have none are refused, and then sent again with one. Well-formed: admitted at
the door, of a supported type, with the segments and fields that HL7 requires of it, and with
values of their fields' data types (benchmarks/corpora_reasons.py has the list)."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why messages were set aside, and whether that is right."""

    reason_class: str
    position: str
    reason: str
    count: int
    types: tuple[str, ...]
    explanation: str  # empty: nobody has looked at it
    well_formed: int  # messages of a supported type that HL7 allows as they are


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one run."""

    messages: int
    empty_sources: tuple[str, ...]
    by_type: Mapping[str, Mapping[str, int]]  # message type: status: count
    reasons: tuple[Reason, ...]
    well_formed: int
    transformed: int  # of those
    resources: Mapping[str, int]  # versions by type
    invalid: tuple[str, ...]  # findings
    digest: str  # over all versions, and all messages as Bundles

    @property
    def share(self) -> float:
        """Of the well-formed messages, those that were transformed."""
        return self.transformed / max(1, self.well_formed)


def main() -> int:
    """Runs, prints, and says whether all holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--database", help=argparse.SUPPRESS)  # of the process elsewhere
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if arguments.database:
        print(json.dumps(asdict(asyncio.run(run_once(arguments.database, arguments.corpora)))))
        return 0
    first, failures = prove(arguments.corpora)
    if arguments.json:
        print(json.dumps({**asdict(first), "share": first.share, "failures": failures}, indent=2))
    else:
        print("\n".join([*shown(first), "", *(failures or ["all of it holds"])]))
    return int(bool(failures))


def prove(corpora: Path) -> tuple[Result, list[str]]:
    """The first run, and what does not hold of the three."""
    with tempfile.TemporaryDirectory(prefix="cg-corpora-") as folder:
        Path(folder).chmod(0o711)
        server = start_embedded(Path(folder) / "data")
        try:
            urls = asyncio.run(_databases(server.admin_url, server.url, 3))
            first = asyncio.run(run_once(urls[0], corpora))
            digests = [first.digest, asyncio.run(run_once(urls[1], corpora)).digest]
            digests.append(_elsewhere(urls[2], corpora))
        finally:
            server.stop()
    return first, failures_of(first, digests)


def failures_of(first: Result, digests: Sequence[str]) -> list[str]:
    """Sentences; none: all holds."""
    failures = [f"not valid FHIR R4: {finding}" for finding in first.invalid]
    failures += [
        f"nobody has explained: {reason.reason_class} {reason.position} {reason.reason}"
        for reason in first.reasons
        if not reason.explanation
    ]
    if first.share < SHARE_LEAST:
        failures.append(f"only {first.share:.1%} of the well-formed messages were transformed")
    if len(set(digests)) != 1:
        failures.append(f"the runs differ: {', '.join(digests)}")
    return failures


async def run_once(url: str, corpora: Path) -> Result:
    """One run on an empty store."""
    messages, empty = _messages(corpora)
    database = await open_database(url, tenant="main", masters=new_masters())
    try:
        gate = _gate(database)
        await _flow(gate, renumbered(messages))
        without = [m for m in messages if _lacks_control_id(m)]
        await _flow(gate, [_given_control_id(m, n) for n, m in enumerate(without, 1)])
        return await _result(gate, len(messages), empty)
    finally:
        await database.close()


def shown(result: Result) -> list[str]:
    """The result for a person."""
    lines = [*DEFINED.splitlines(), "", f"{result.messages} messages"]
    lines += [f"  {name} holds no message" for name in result.empty_sources]
    for kind, statuses in result.by_type.items():
        counts = ", ".join(f"{count} {status}" for status, count in statuses.items())
        lines.append(f"  {kind:<10} {counts}")
    lines += ["", "set aside, and why"]
    for one in result.reasons:
        lines.append(f"  {one.count:>4}  {one.reason_class}: {one.reason}")
        lines += textwrap.wrap(
            " ".join(one.types), 92, initial_indent=MARGIN, subsequent_indent=MARGIN
        )
        lines.append(f"{MARGIN}{one.explanation or 'NOBODY HAS LOOKED AT THIS'}")
        if one.well_formed:
            lines.append(f"{MARGIN}{one.well_formed} of them well-formed")
    lines += ["", "versions of resources, all valid R4" if not result.invalid else "INVALID"]
    lines += [f"  {count:>4}  {name}" for name, count in result.resources.items()]
    lines += [
        "",
        f"well-formed, of supported types: {result.well_formed}",
        f"of these transformed: {result.transformed} ({result.share:.1%})",
        f"digest over all versions, and all messages as Bundles: {result.digest}",
    ]
    return lines


def _messages(corpora: Path) -> tuple[list[bytes], tuple[str, ...]]:
    found: list[bytes] = []
    empty = []
    for name in SOURCES:
        try:
            found += messages_of(corpora / name)
        except ConfigError:
            empty.append(name)
    return found, tuple(empty)


async def _flow(gate: Gate, messages: Sequence[bytes]) -> None:
    for start in range(0, len(messages), BATCH):
        batch = [Received(connection=FEED, raw=raw) for raw in messages[start : start + BATCH]]
        await intake.accept(gate, batch)
    while await events.process_next(gate):
        pass


async def _result(gate: Gate, messages: int, empty: tuple[str, ...]) -> Result:
    database = gate.database
    query = (
        "SELECT message_type, status, count(*) AS n FROM inbox WHERE tenant = $1 "
        "GROUP BY message_type, status ORDER BY message_type, status"
    )
    by_type: dict[str, dict[str, int]] = {}
    for row in await database.fetch(query):
        by_type.setdefault(row["message_type"], {})[row["status"]] = row["n"]
    reasons = await _reasons(database)
    query = "SELECT id FROM inbox WHERE tenant = $1 AND status = 'delivered' ORDER BY control_id"
    inbox = InboxStore(database)
    delivered = [await inbox.raw(row["id"]) or b"" for row in await database.fetch(query)]
    transformed = sum(map(is_well_formed, delivered))
    stopped = sum(reason.well_formed for reason in reasons)
    resources: Counter[str] = Counter()
    invalid: set[str] = set()
    whole = hashlib.sha256()
    query = (
        "SELECT resource_type, id, digest FROM record_version WHERE tenant = $1 "
        'ORDER BY resource_type COLLATE "C", id COLLATE "C", digest'
    )
    record = RecordStore(database)
    for row in await database.fetch(query):
        reference = f"{row['resource_type']}/{row['id']}"
        [body] = (await record.versions(FEED, [(reference, row["digest"])])).values()
        resources[row["resource_type"]] += 1
        whole.update(body + b"\n")
        invalid.update(structure_findings(orjson.loads(body)))
    settings = settings_for(gate, FEED)
    for raw in delivered:
        # With the header and the Provenance, which no record holds.
        bundle = message_bundle(parse(raw), settings)
        whole.update(canonical_bytes(bundle) + b"\n")
        for entry in bundle["entry"]:
            invalid.update(structure_findings(entry["resource"]))
    return Result(
        messages=messages,
        empty_sources=empty,
        by_type=by_type,
        reasons=reasons,
        well_formed=transformed + stopped,
        transformed=transformed,
        resources=dict(resources),
        invalid=tuple(sorted(invalid)),
        digest=whole.hexdigest(),
    )


async def _reasons(database: Database) -> tuple[Reason, ...]:
    """Those of the quarantine, at the door and behind it, and of filters."""
    query = """
        SELECT q.reason_class, q.reason, q.position, coalesce(i.message_type, '') AS kind,
               q.id, q.count
        FROM quarantine q LEFT JOIN inbox i ON i.tenant = q.tenant AND i.id = q.inbox_id
        WHERE q.tenant = $1
        UNION ALL
        SELECT 'filtered', reason, '', message_type, id, 1 FROM inbox
        WHERE tenant = $1 AND status = 'filtered'"""
    found: dict[tuple[str, str, str], list[tuple[str, bytes, int]]] = {}
    inbox, quarantine = InboxStore(database), QuarantineStore(database)
    for reason_class, reason, position, kind, id_, count in await database.fetch(query):
        filtered = reason_class == "filtered"
        raw = (await inbox.raw(id_) or b"") if filtered else (await quarantine.get(id_)).raw
        found.setdefault((reason_class, reason, position), []).append((kind, raw, count))
    reasons = [
        Reason(
            reason_class=reason_class,
            reason=reason,
            position=position,
            count=sum(count for _, _, count in some),
            types=tuple(sorted({kind for kind, _, _ in some if kind})),
            explanation=explanation_of(reason_class, reason),
            well_formed=sum(
                count
                for kind, raw, count in some
                if kind in SUPPORTED and is_well_formed(raw, reason)
            ),
        )
        for (reason_class, reason, position), some in found.items()
    ]
    return tuple(sorted(reasons, key=lambda one: (-one.count, one.reason_class, one.reason)))


def _gate(database: Database) -> Gate:
    options = {"processing_id": "", "id_from": "identifier"}
    feed = ConnectionConfig(name=FEED, adapter="hl7v2_mllp", site="corpora", options=options)
    return Gate(
        config=Config(folder=Path(), connections={FEED: feed}),
        clock=lambda: AT,
        database=database,
        audit=AuditWriter(database),
        running=Running(charters=compile_book([])),
        sources={},
        sinks={},
    )


def _header(message: bytes) -> tuple[bytes, list[bytes], bytes]:
    header, _, rest = message.partition(b"\r")
    mark = header[3:4]
    return mark, header.split(mark) if header.startswith(b"MSH") and mark else [], rest


def _lacks_control_id(message: bytes) -> bool:
    _, fields, _ = _header(message)
    return bool(fields) and not b"".join(fields[CONTROL_ID : CONTROL_ID + 1]).strip()


def _given_control_id(message: bytes, number: int) -> bytes:
    mark, fields, rest = _header(message)
    fields += [b""] * (CONTROL_ID + 1 - len(fields))
    fields[CONTROL_ID] = f"G{number:06d}".encode()
    return mark.join(fields) + b"\r" + rest


def _elsewhere(url: str, corpora: Path) -> str:
    """The digest of a run in a process with another zone, locale and hash seed."""
    command = [sys.executable, "-m", "benchmarks.corpora", str(corpora), "--database", url]
    ran = subprocess.run(
        command, env={**os.environ, **ELSEWHERE}, stdout=subprocess.PIPE, text=True, check=True
    )
    digest: str = json.loads(ran.stdout.splitlines()[-1])["digest"]
    return digest


async def _databases(admin_url: str, url: str, count: int) -> list[str]:
    """URLs of so many empty, migrated databases."""
    admin = await asyncpg.connect(admin_url)
    urls = []
    try:
        for number in range(count):
            name = f"run_{number}"
            await admin.execute(f"CREATE DATABASE {name} OWNER chartgate")
            head, _, options = url.partition("?")
            urls.append(f"{head.rpartition('/')[0]}/{name}" + (f"?{options}" if options else ""))
            await migrate(urls[-1])
    finally:
        await admin.close()
    return urls


if __name__ == "__main__":
    sys.exit(main())
