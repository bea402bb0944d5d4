"""Writing the audit out: as FHIR AuditEvents or as the ledger's own lines, resumable, flat in
memory.

What is written goes beside the file that is asked for, with a note of how far it has come; the
same command goes on from there, and the file appears under its name only once it is whole.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import orjson

from chartgate.errors import Invalid, mapped
from chartgate.flows.audit_search import note
from chartgate.gate import Gate
from chartgate.model.audit import read_leaf
from chartgate.model.principal import Principal
from chartgate.store.audit_search import EVER, NEVER, Criteria
from chartgate.store.database import Row
from chartgate.store.ledger import LedgerStore
from chartgate.transform.balp.agents import Place
from chartgate.transform.balp.events import fhir_events

Form = Literal["fhir", "ndjson", "bundle"]
FORMS: tuple[Form, ...] = ("fhir", "ndjson", "bundle")
BATCH = 1_000
BUNDLE_OPEN = b'{"resourceType":"Bundle","type":"collection"'
BUNDLE_ENTRIES = b',"entry":[\n'


@dataclass(frozen=True, kw_only=True)
class _Progress:
    """How far a file has come, and what it is of."""

    form: str
    since: str
    until: str
    end: int  # numbers below it are written
    next: int  # number to go on with
    size_bytes: int
    events: int


def place_of(gate: Gate) -> Place:
    """What our events do not say themselves: who we are, where systems stand, who is behind whom."""
    config = gate.config
    systems = {}
    for charter in gate.charters.charters.values():
        for site, connection in charter.sites.items():
            found = config.connections.get(connection)
            url = str(found.options.get("url", "")) if found else ""
            if url:
                systems[site] = url
    vendors = {}
    for name, client in config.clients.items():
        vendor = config.vendors.get(client.vendor)
        if vendor:
            vendors[f"client:{name}"] = vendor.legal_name or vendor.name
    return Place(name=config.ledger.origin, url=config.web.url, systems=systems, vendors=vendors)


async def export(
    gate: Gate,
    who: Principal,
    path: Path,
    *,
    form: Form,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes the numbered events of a span; how many. Goes on with what an earlier call for the
    same left undone. Raises Denied, Invalid, Unavailable."""
    span = Criteria(since=since or EVER, until=until or NEVER)
    await note(gate, who, "audit.export", span, details=(("form", form),))
    say = f"{path} cannot be written; is there room, and may this user write there?"
    store, place = LedgerStore(gate.database), place_of(gate)
    if path.exists():
        raise Invalid(f"{path} is there already; name another file")
    async with gate.database.connection() as connection:
        size = await store.size(connection)
        with mapped({OSError: Invalid}, say):
            at = await asyncio.to_thread(_resume, path, form, span, size)
        while at.next < at.end:
            rows = await store.recorded_between(
                connection,
                first=at.next,
                end=at.end,
                since=span.since,
                until=span.until,
                count_max=BATCH,
            )
            with mapped({OSError: Invalid}, say):
                at = await asyncio.to_thread(_append, path, form, place, at, rows)
            if progress:
                progress(at.next, at.end)
    with mapped({OSError: Invalid}, say):
        await asyncio.to_thread(_finish, path, form, at)
    return at.events


def lines_of(form: Form, row: Row, place: Place) -> list[bytes]:
    """One event as lines of a file: our own canonical bytes, or FHIR."""
    if form == "ndjson":
        return [orjson.dumps({"seq": row["seq"], "event": orjson.Fragment(row["body"])})]
    resources = fhir_events(read_leaf(row["body"]), leaf=row["hash"].hex(), place=place)
    if form == "fhir":
        return [orjson.dumps(resource) for resource in resources]
    return [
        orjson.dumps({"fullUrl": f"{place.url}/AuditEvent/{r['id']}", "resource": r})
        for r in resources
    ]


def _resume(path: Path, form: Form, span: Criteria, size: int) -> _Progress:
    """Where to go on; what stands behind it was being written when the last call ended."""
    begun = _Progress(
        form=form,
        since=span.since.isoformat(),
        until=span.until.isoformat(),
        end=size,
        next=0,
        size_bytes=0,
        events=0,
    )
    with suppress(FileNotFoundError, ValueError, TypeError):
        known = _Progress(**orjson.loads(_note_file(path).read_bytes()))
        if (known.form, known.since, known.until) == (begun.form, begun.since, begun.until):
            with _part_file(path).open("r+b") as file:
                file.truncate(known.size_bytes)
            return known
    _part_file(path).write_bytes(BUNDLE_OPEN if form == "bundle" else b"")
    return begun


def _append(path: Path, form: Form, place: Place, at: _Progress, rows: Sequence[Row]) -> _Progress:
    written = at.events
    with _part_file(path).open("ab") as file:
        for row in rows:
            for line in lines_of(form, row, place):
                if form == "bundle":
                    file.write(BUNDLE_ENTRIES if written == 0 else b",\n")
                    file.write(line)
                else:
                    file.write(line + b"\n")
                written += 1
        file.flush()
        size_bytes = file.tell()
    after = rows[-1]["seq"] + 1 if len(rows) == BATCH else at.end
    now = _Progress(**(asdict(at) | {"next": after, "size_bytes": size_bytes, "events": written}))
    _note_file(path).write_bytes(orjson.dumps(now))
    return now


def _finish(path: Path, form: Form, at: _Progress) -> None:
    part = _part_file(path)
    if form == "bundle":
        with part.open("ab") as file:
            file.write(b"\n]}\n" if at.events else b"}\n")  # FHIR has no empty arrays
    part.rename(path)
    _note_file(path).unlink(missing_ok=True)


def _part_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _note_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.progress")
