"""Rebuild: the record made again from the inbox with other tables, beside the running one.

start: note the tables, fold every delivered message in the order in which it came. differences:
what would change. switch: catch up with what came meanwhile while no batch is under way, and let
the rebuilt record take the place of the running one, in one transaction; versions stay.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from chartgate.errors import ConfigError, NotFound, VersionConflict
from chartgate.flows.feeds import settings_for
from chartgate.flows.folding import Folded, Held, Reading, fold, held_of, read, wanted
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Queued
from chartgate.model.principal import Person, Process
from chartgate.model.resource import Copy
from chartgate.store.database import Connection
from chartgate.store.rebuilds import Difference, Rebuild, RebuildStore
from chartgate.store.record import RecordStore
from chartgate.transform.hl7v2.overrides import parse_overrides
from chartgate.transform.hl7v2.settings import FeedSettings

BATCH_MAX = 500  # messages in one transaction
DIFFERENCES_MAX = 500  # resources compared at a time
EXAMPLES_MAX = 3  # references for each kind of difference

Operator = Person | Process
Progress = Callable[[int, int], None]  # done, and how many remained when it began


@dataclass(frozen=True, kw_only=True)
class Change:
    """One kind of difference: an element of a type that changes, or whole resources."""

    resource_type: str
    kind: str  # "added", "removed", or "changed"
    element: str  # "name", empty for whole resources
    count: int
    examples: tuple[str, ...]  # references


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a switch would change."""

    rebuild: Rebuild
    remaining: int  # delivered messages that are not in it yet
    changes: tuple[Change, ...]


async def start(
    gate: Gate, operator: Operator, connection: str, *, overrides: str | None
) -> Rebuild:
    """Begins one; `overrides` is the text of another file than the running one. Raises
    ConfigError, VersionConflict where one is there already."""
    settings = settings_for(gate, connection)
    if overrides is not None:
        parsed = parse_overrides(overrides, where="the file of overrides")
        settings = replace(settings, overrides=parsed)
    at = gate.clock()
    begun = Rebuild(
        connection=connection,
        revision=settings.tables.revision,
        overrides="" if overrides is None else overrides,
        cursor=0,
        folded=0,
        refused=0,
        examples=(),
        started_by=operator.agent,
        started_at=at,
    )
    event = _event(gate, operator, begun, "start")
    if not await RebuildStore(gate.database).begin(begun, event):
        raise VersionConflict(
            f"a rebuild of {connection} is there already; continue it with `feed rebuild run`, or "
            "drop it with `feed rebuild drop`"
        )
    return begun


async def run(gate: Gate, connection: str, *, progress: Progress) -> Rebuild:
    """Folds what is not in it yet; resumes where it was interrupted."""
    store = RebuildStore(gate.database)
    rebuild = await get(gate, connection)
    settings = _settings(gate, rebuild)
    total, done = await store.remaining(rebuild), 0
    while True:
        async with gate.database.bookkeeping() as transaction:
            taken = await _fold_next(gate, transaction, rebuild, settings)
        if not taken:
            return await get(gate, connection)
        done += taken
        progress(done, max(total, done))
        rebuild = await get(gate, connection)


async def report(gate: Gate, connection: str, *, progress: Progress) -> Report:
    """What would change, by type and element; reads all resources that differ."""
    store = RebuildStore(gate.database)
    rebuild = await get(gate, connection)
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    after, done = ("", ""), 0
    while found := await store.differences(rebuild, after=after, count_max=DIFFERENCES_MAX):
        for key, reference in await _kinds(gate, rebuild, found):
            counts[key] += 1
            if len(examples[key]) < EXAMPLES_MAX:
                examples[key].append(reference)
        after = (found[-1].resource_type, found[-1].id)
        done += len(found)
        progress(done, done)
    return Report(
        rebuild=rebuild,
        remaining=await store.remaining(rebuild),
        changes=tuple(
            Change(
                resource_type=key[0],
                kind=key[1],
                element=key[2],
                count=counts[key],
                examples=tuple(examples[key]),
            )
            for key in sorted(counts)
        ),
    )


async def switch(gate: Gate, operator: Operator, connection: str) -> Rebuild:
    """The rebuilt record takes the running one's place. Raises VersionConflict where the feed
    goes by other tables than the rebuild did."""
    store = RebuildStore(gate.database)
    rebuild = await get(gate, connection)
    running = settings_for(gate, connection)
    if running.tables.revision != rebuild.revision:
        raise VersionConflict(
            f"the feed {connection} goes by tables {running.tables.revision}, the rebuild by "
            f"{rebuild.revision}; give the connection the same file of overrides first"
        )
    settings = _settings(gate, rebuild)
    async with gate.database.change(_event(gate, operator, rebuild, "switch")) as transaction:
        await store.hold_processing(transaction)
        while await _fold_next(gate, transaction, rebuild, settings):
            rebuild = await get_in(gate, transaction, connection)
        await store.switch_in(transaction, rebuild)
    return rebuild


async def drop(gate: Gate, operator: Operator, connection: str) -> None:
    """Forgets a rebuilt record."""
    rebuild = await get(gate, connection)
    async with gate.database.change(_event(gate, operator, rebuild, "drop")) as transaction:
        await RebuildStore(gate.database).drop_in(transaction, rebuild)


async def get(gate: Gate, connection: str) -> Rebuild:
    """That of a connection. Raises NotFound with what to do."""
    found = await RebuildStore(gate.database).get(connection)
    if found is None:
        raise NotFound(
            f"there is no rebuild of {connection}; begin one with `chartgate feed rebuild start`"
        )
    return found


async def get_in(gate: Gate, transaction: Connection, connection: str) -> Rebuild:
    """As `get`, as the transaction sees it."""
    found = await RebuildStore(gate.database).get_in(transaction, connection)
    assert found is not None, "nobody else drops it meanwhile"
    return found


def _settings(gate: Gate, rebuild: Rebuild) -> FeedSettings:
    settings = settings_for(gate, rebuild.connection)
    if rebuild.overrides:
        parsed = parse_overrides(rebuild.overrides, where="the file of overrides")
        settings = replace(settings, overrides=parsed)
    if settings.tables.revision != rebuild.revision:
        raise ConfigError(
            f"the rebuild of {rebuild.connection} began with tables {rebuild.revision}, which are "
            "not here any more; drop it and start anew"
        )
    return settings


async def _fold_next(
    gate: Gate, transaction: Connection, rebuild: Rebuild, settings: FeedSettings
) -> int:
    store, record = RebuildStore(gate.database), RecordStore(gate.database)
    messages = await store.next_in(transaction, rebuild, count_max=BATCH_MAX)
    if not messages:
        return 0
    readings = [(message, read(message, settings)) for message in messages]
    references = sorted(wanted(reading for _, reading in readings))
    held = held_of(await record.copies_in(transaction, rebuild.shadow, references))
    copies, refused = _copies(readings, held)
    await record.keep_in(transaction, rebuild.shadow, copies)
    await store.advance_in(
        transaction,
        rebuild,
        to=messages[-1].id,
        folded=len(messages) - len(refused),
        refused=refused,
    )
    return len(messages)


def _copies(readings: Sequence[tuple[Queued, Any]], held: Held) -> tuple[list[Copy], list[int]]:
    copies: list[Copy] = []
    refused: list[int] = []
    for message, reading in readings:
        folded = fold(message, reading, held) if isinstance(reading, Reading) else None
        if isinstance(folded, Folded):
            copies += folded.copies
        else:
            refused.append(message.id)
    return copies, refused


async def _kinds(
    gate: Gate, rebuild: Rebuild, found: Sequence[Difference]
) -> list[tuple[tuple[str, str, str], str]]:
    record = RecordStore(gate.database)
    both = [d for d in found if d.before is not None and d.after is not None]
    before = await record.versions(
        rebuild.connection, [(d.reference, d.before) for d in both if d.before]
    )
    after = await record.versions(rebuild.shadow, [(d.reference, d.after) for d in both if d.after])
    kinds: list[tuple[tuple[str, str, str], str]] = []
    for difference in found:
        reference = difference.reference
        if difference.before is None or difference.after is None:
            kind = "added" if difference.before is None else "removed"
            kinds.append(((difference.resource_type, kind, ""), reference))
            continue
        old, new = orjson.loads(before[reference]), orjson.loads(after[reference])
        kinds += [
            ((difference.resource_type, "changed", element), reference)
            for element in _elements(old, new)
        ]
    return kinds


def _elements(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _event(gate: Gate, operator: Operator, rebuild: Rebuild, verb: str) -> AuditEvent:
    connection = gate.config.connections.get(rebuild.connection)
    return AuditEvent(
        recorded=gate.clock(),
        action=f"feed.rebuild-{verb}",
        agent=operator.agent,
        site=connection.site if connection else "",
        details=(
            ("connection", rebuild.connection),
            ("tables", rebuild.revision),
            ("messages", str(rebuild.folded)),
        ),
    )
