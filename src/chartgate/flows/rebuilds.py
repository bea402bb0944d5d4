"""Rebuild: the record made again from the inbox with other tables, beside the running one.

start: note the tables. run: fold every delivered message in the order in which it came. report:
what would change. switch: catch up with what came meanwhile while no batch is under way, and let
the rebuilt record take the place of the running one, in one transaction; versions stay.

Messages that are quarantined or filtered are in neither record; `chartgate feed replay` queues
them again once the tables can take them. A message that was replayed late stands in the rebuilt
record where it came, not where it was replayed: that can be a difference of its own.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from chartgate.errors import ConfigError, NotFound, VersionConflict
from chartgate.flows.feeds import settings_for
from chartgate.flows.folding import Filtered, Folded, Reading, fold, held_of, read, wanted
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Queued
from chartgate.model.principal import Person, Process
from chartgate.model.resource import Copy
from chartgate.store.database import Connection
from chartgate.store.rebuilds import Difference, Looked, Rebuild, RebuildStore
from chartgate.store.record import RecordStore
from chartgate.transform.hl7v2.overrides import parse_overrides
from chartgate.transform.hl7v2.settings import FeedSettings

BATCH_MAX = 500  # messages in one transaction
EXAMPLES_MAX = 3  # references for each kind of difference
PROGRESS_EVERY = 1000  # resources that differ

Operator = Person | Process
Progress = Callable[[int, int], None]  # done, and of how many


@dataclass(frozen=True, kw_only=True)
class Change:
    """One kind of difference: an element of a type that changes, or whole resources."""

    resource_type: str
    kind: str  # "added", "removed", or "changed"
    element: str  # "name", empty for whole resources
    count: int  # resources
    examples: tuple[str, ...]  # references


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A message that the running tables took, and these cannot."""

    message: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a switch would change."""

    rebuild: Rebuild
    remaining: int  # delivered messages that it has not looked at yet
    changes: tuple[Change, ...]
    refused: tuple[Refused, ...]  # the first of them


async def start(
    gate: Gate, operator: Operator, connection: str, *, overrides: str | None
) -> Rebuild:
    """Begins one; `overrides` is the text of another file than the running one. Raises
    ConfigError, VersionConflict where one is there already."""
    settings = _with(settings_for(gate, connection), overrides)
    begun = Rebuild(
        connection=connection,
        revision=settings.tables.revision,
        overrides=overrides,
        cursor=0,
        folded=0,
        filtered=0,
        refused=0,
        examples=(),
        started_by=operator.agent,
        started_at=gate.clock(),
    )
    event = _event(gate, operator, begun, "start")
    if not await RebuildStore(gate.database).begin(begun, event):
        raise VersionConflict(
            f"a rebuild of {connection} is there already; go on with it by `chartgate feed rebuild "
            "run`, or drop it"
        )
    return begun


async def run(gate: Gate, connection: str, *, progress: Progress) -> Rebuild:
    """Folds what is not in it yet; goes on where it was interrupted."""
    store = RebuildStore(gate.database)
    rebuild = await get(gate, connection)
    settings = _settings(gate, rebuild)
    total = rebuild.looked_at + await store.remaining(rebuild)
    while True:
        async with gate.database.bookkeeping() as transaction:
            rebuild = await _locked(gate, transaction, connection)
            taken = await _fold_next(gate, transaction, rebuild, settings, past_waiting=False)
        if not taken:
            return rebuild
        done = rebuild.looked_at + taken
        progress(done, max(total, done))


async def report(gate: Gate, connection: str, *, progress: Progress) -> Report:
    """What would change, by type and element; reads all resources that differ."""
    store = RebuildStore(gate.database)
    rebuild = await get(gate, connection)
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    done = 0
    async for difference in store.differences(rebuild):
        for key in _kinds(difference):
            counts[key] += 1
            examples[key] = sorted([*examples[key], difference.reference])[:EXAMPLES_MAX]
        done += 1
        if done % PROGRESS_EVERY == 0:
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
        refused=await _refused(gate, rebuild),
    )


async def switch(gate: Gate, operator: Operator, connection: str, *, progress: Progress) -> Rebuild:
    """The rebuilt record takes the running one's place. Raises VersionConflict where the feed
    goes by other tables than the rebuild did."""
    store = RebuildStore(gate.database)
    rebuild = await check_switch(gate, connection)
    settings = _settings(gate, rebuild)
    # What takes long is done before all batches have to wait.
    await run(gate, connection, progress=progress)
    async with gate.database.bookkeeping() as transaction:
        await store.copy_versions_in(transaction, rebuild)
    async with gate.database.change_found() as (transaction, events):
        await store.hold_processing(transaction)
        while True:
            rebuild = await _locked(gate, transaction, connection)
            _check_alike(gate, rebuild)
            if not await _fold_next(gate, transaction, rebuild, settings, past_waiting=True):
                break
        await store.switch_in(transaction, rebuild)
        events.append(_event(gate, operator, rebuild, "switch"))
    return rebuild


async def check_switch(gate: Gate, connection: str) -> Rebuild:
    """What would be switched. Raises VersionConflict as `switch` does."""
    rebuild = await get(gate, connection)
    _check_alike(gate, rebuild)
    return rebuild


async def drop(gate: Gate, operator: Operator, connection: str) -> Rebuild:
    """Forgets a rebuilt record; the running one stays."""
    await get(gate, connection)
    async with gate.database.change_found() as (transaction, events):
        rebuild = await _locked(gate, transaction, connection)
        await RebuildStore(gate.database).drop_in(transaction, rebuild)
        events.append(_event(gate, operator, rebuild, "drop"))
    return rebuild


async def get(gate: Gate, connection: str) -> Rebuild:
    """That of a connection. Raises NotFound with what to do."""
    found = await RebuildStore(gate.database).get(connection)
    if found is None:
        raise _none(connection)
    return found


async def remaining(gate: Gate, rebuild: Rebuild) -> int:
    """How many delivered messages it has not looked at yet."""
    return await RebuildStore(gate.database).remaining(rebuild)


async def under_way(gate: Gate) -> tuple[tuple[Rebuild, int], ...]:
    """All that have begun, each with how many messages it has not looked at yet."""
    store = RebuildStore(gate.database)
    return tuple([(one, await store.remaining(one)) for one in await store.all()])


async def _locked(gate: Gate, transaction: Connection, connection: str) -> Rebuild:
    """As `get`, for this transaction alone."""
    found = await RebuildStore(gate.database).lock_in(transaction, connection)
    if found is None:
        raise _none(connection)
    return found


def _none(connection: str) -> NotFound:
    return NotFound(
        f"there is no rebuild of {connection}; begin one with `chartgate feed rebuild start`"
    )


def _with(settings: FeedSettings, overrides: str | None) -> FeedSettings:
    if overrides is None:
        return settings
    parsed = parse_overrides(overrides, where="the file of overrides")
    return replace(settings, overrides=parsed)


def _settings(gate: Gate, rebuild: Rebuild) -> FeedSettings:
    """Those that it goes by. Raises ConfigError where they are not here any more."""
    settings = _with(settings_for(gate, rebuild.connection), rebuild.overrides)
    if settings.tables.revision != rebuild.revision:
        raise ConfigError(
            f"the rebuild of {rebuild.connection} began with tables {rebuild.revision}, which are "
            "not here any more; drop it and start anew"
        )
    return settings


def _check_alike(gate: Gate, rebuild: Rebuild) -> None:
    """The feed must go by the tables of the rebuild, or its next message would undo it."""
    running = settings_for(gate, rebuild.connection).tables.revision
    if running != rebuild.revision:
        raise VersionConflict(
            f"the feed {rebuild.connection} goes by tables {running}, the rebuild by "
            f"{rebuild.revision}; put the same file of overrides in the feed's place first"
        )


async def _fold_next(
    gate: Gate,
    transaction: Connection,
    rebuild: Rebuild,
    settings: FeedSettings,
    *,
    past_waiting: bool,
) -> int:
    """How many messages it looked at."""
    store, record = RebuildStore(gate.database), RecordStore(gate.database)
    messages = await store.next_in(
        transaction, rebuild, past_waiting=past_waiting, count_max=BATCH_MAX
    )
    if not messages:
        return 0
    readings = [(message, read(message, settings)) for message in messages]
    references = sorted(wanted(reading for _, reading in readings))
    held = held_of(await record.copies_in(transaction, rebuild.shadow, references))
    copies: list[Copy] = []
    ended: dict[str, list[int]] = {"folded": [], "filtered": [], "refused": []}
    for message, reading in readings:
        folded = fold(message, reading, held) if isinstance(reading, Reading) else reading
        if isinstance(folded, Folded):
            copies += folded.copies
            ended["folded"].append(message.id)
        else:
            ended["filtered" if isinstance(folded, Filtered) else "refused"].append(message.id)
    await record.keep_in(transaction, rebuild.shadow, copies)
    looked = Looked(**{name: tuple(ids) for name, ids in ended.items()})
    await store.advance_in(transaction, rebuild, looked)
    return len(messages)


async def _refused(gate: Gate, rebuild: Rebuild) -> tuple[Refused, ...]:
    """The first messages that these tables cannot take, with why."""
    try:
        settings = _settings(gate, rebuild)
    except ConfigError:
        return ()
    messages = await RebuildStore(gate.database).messages(rebuild.examples)
    return tuple(Refused(message=one.id, reason=_why(one, settings)) for one in messages)


def _why(message: Queued, settings: FeedSettings) -> str:
    reading = read(message, settings)
    if isinstance(reading, Reading | Filtered):
        return "does not fit what the record held then"
    return reading.reason


def _kinds(difference: Difference) -> list[tuple[str, str, str]]:
    """What differs about one resource: it as a whole, or each of its elements that does."""
    if difference.before is None or difference.after is None:
        kind = "added" if difference.before is None else "removed"
        return [(difference.resource_type, kind, "")]
    old, new = orjson.loads(difference.before), orjson.loads(difference.after)
    return [(difference.resource_type, "changed", name) for name in _elements(old, new)]


def _elements(old: Mapping[str, Any], new: Mapping[str, Any]) -> Sequence[str]:
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
            ("messages", str(rebuild.looked_at)),
        ),
    )
