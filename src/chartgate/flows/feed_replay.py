"""Queuing again what was set aside, once its reason is gone: batch by batch, in the order of ids.

Twice is once: what is queued or delivered is left alone. Each message goes back into its own lane
and is processed as one that comes late: where newer messages of the patient have been processed
since, it does not overwrite what they said.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chartgate.errors import Invalid, VersionConflict
from chartgate.flows.quarantine import Operator
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.store.quarantine import QuarantineStatus, QuarantineStore, Selection

BATCH_MAX = 500  # messages in one transaction, so that no lane waits long
PLAN_MAX = 10_000  # messages in one look
IDS_MAX = 1_000  # rows that may be named one by one
IDS_IN_AUDIT_MAX = 20

Progress = Callable[[int, int], None]  # done, of


@dataclass(frozen=True, kw_only=True)
class ReplayPlan:
    """What would be queued again."""

    selection: Selection
    count: int = 0
    first: int = 0  # message ids
    last: int = 0
    by_connection: Mapping[str, int] = field(default_factory=dict)
    filtered: int = 0  # of these, how many were filtered
    never_messages: int = 0  # rows that match and cannot be replayed


async def plan_replay(gate: Gate, selection: Selection) -> ReplayPlan:
    """Looks; changes nothing. Raises Invalid where nothing is selected, and NotFound or
    VersionConflict for a row named by its id that is not there or not open."""
    if selection == Selection(filtered=selection.filtered):
        raise Invalid("say what to replay: IDs, --reason, --connection, --since or --until")
    store = QuarantineStore(gate.database)
    await _check_ids(store, selection.ids or ())
    connections: Counter[str] = Counter()
    first = last = filtered = 0
    while page := await store.replayable(selection, after=last, limit=PLAN_MAX):
        connections.update(message.connection for message in page)
        filtered += sum(message.status == "filtered" for message in page)
        first, last = first or page[0].id, page[-1].id
    return ReplayPlan(
        selection=selection,
        count=connections.total(),
        first=first,
        last=last,
        by_connection=dict(sorted(connections.items())),
        filtered=filtered,
        never_messages=await store.unreplayable(selection),
    )


async def replay(
    gate: Gate, who: Operator, plan: ReplayPlan, *, progress: Progress | None = None
) -> int:
    """Queues again what the plan found, so far as it still may be; how many. A message that fails
    meanwhile is not taken up once more."""
    store = QuarantineStore(gate.database)
    after = done = looked = 0
    while after < plan.last:
        page = await store.replayable(plan.selection, after=after, limit=BATCH_MAX)
        ids = [message.id for message in page if message.id <= plan.last]
        if not ids:
            break
        after = ids[-1]
        async with gate.database.change_found() as (transaction, audit):
            moved = await store.requeue_in(transaction, ids)
            if moved:
                audit.append(_event(gate, who, plan.selection, moved))
        done, looked = done + len(moved), looked + len(ids)
        if progress:
            progress(looked, max(plan.count, looked))
    return done


async def _check_ids(store: QuarantineStore, ids: tuple[int, ...]) -> None:
    if len(ids) > IDS_MAX:
        raise Invalid(f"at most {IDS_MAX} rows can be named; select by --reason or time instead")
    for row in ids:
        opened = await store.get(row)
        if opened.inbox_id is None:
            raise Invalid(
                f"{row} never became a message, so there is nothing to replay; mend a copy: "
                f"`chartgate feed quarantine show {row} --raw > FILE`, then "
                f"`chartgate feed quarantine fix {row} --file FILE`"
            )
        if opened.status in (QuarantineStatus.FIXED, QuarantineStatus.DISMISSED):
            by = f" by {opened.resolved_by}" if opened.resolved_by else ""
            raise VersionConflict(f"{row} is {opened.status.value} already{by}")


def _event(gate: Gate, who: Operator, selection: Selection, moved: tuple[int, ...]) -> AuditEvent:
    said = {
        "count": str(len(moved)),
        "first": str(moved[0]),
        "last": str(moved[-1]),
        "ids": " ".join(str(row) for row in (selection.ids or ())[:IDS_IN_AUDIT_MAX]),
        "class": selection.reason or "",
        "connection": selection.connection or "",
        "since": selection.since.isoformat() if selection.since else "",
        "until": selection.until.isoformat() if selection.until else "",
        "filtered": "too" if selection.filtered else "",
    }
    return AuditEvent(
        recorded=gate.clock(),
        action="message.replay",
        agent=who.agent,
        details=tuple((key, value) for key, value in said.items() if value),
    )
