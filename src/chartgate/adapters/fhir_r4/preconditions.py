"""Which lines must hold before a write may go out (invariant 3: none without a precondition)."""

from collections.abc import Mapping
from dataclasses import replace

from chartgate.adapters.fhir_r4.dialect import PROBED, Habits
from chartgate.adapters.fhir_r4.remedies import remedy
from chartgate.model.verdict import WriteRight
from chartgate.model.write import Change, Write

# What every write needs: that a version is named, that what is sent is what is stored, and that
# what the guards read is what stands.
# Where the probe could make nothing, nothing was shown.
COMMON = frozenset(
    {"create", "etag_present", "stored_as_sent", "reads_catch_up", "unmodified_is_true"}
)
Ways = tuple[frozenset[str], ...]  # any one of the sets will do
ALONE: Mapping[str, Ways] = {
    "create": (frozenset({"if_none_exist", "if_none_exist_race", "marker_survives"}),),
    "update": (frozenset({"if_match_on_put"}),),
    "patch": (
        frozenset({"if_match_on_patch"}),
        frozenset({"patch_test"}),
        frozenset({"if_match_on_put"}),
    ),
    "delete": (frozenset({"delete", "if_match_on_delete"}),),
}
TOGETHER: Mapping[str, Ways] = {
    "create": (
        frozenset({"transaction_atomic", "if_none_exist_in_transaction", "marker_survives"}),
    ),
    "update": (frozenset({"transaction_atomic", "if_match_in_transaction"}),),
    "patch": (
        frozenset({"transaction_atomic", "patch_in_transaction"}),
        frozenset({"transaction_atomic", "if_match_in_transaction"}),
    ),
    "delete": (frozenset({"transaction_atomic", "delete", "delete_in_transaction"}),),
}
LINES_SHOWN = 3
SAY_APART = (
    "Until then they go one after the other where each can be taken back, and are taken back if a"
    " later one is refused"
)
NOT_TRIED = "could not be tried"  # how the detail of such a verdict begins


def lines_missing(write: Write, habits: Habits, *, apart: bool = False) -> tuple[str, ...]:
    """Lines that no probe has shown and that this write needs, as one or with its changes
    `apart`; empty: it may go out."""
    table = ALONE if apart or len(write.changes) == 1 else TOGETHER
    missing: set[str] = set()
    for change in write.changes:
        missing |= _missing(table[change.interaction], habits)
        # What takes a create back is a status, where its type has one.
        cancels = (
            change.interaction == "create" and change.resource_type in habits.dialect.stand_ins
        )
        if cancels and not habits.holds("cancel"):
            missing.add("cancel")
    return tuple(line for line in PROBED if line in missing)


def goes_apart(write: Write, habits: Habits) -> bool:
    """Whether its changes must go one after the other: not as one, while each may go alone and
    what would take it back may as well."""
    if len(write.changes) < 2 or not lines_missing(write, habits):
        return False
    undone = tuple(_undoing(change, habits) for change in write.changes)
    return None not in undone and not any(
        lines_missing(replace(write, changes=changes), habits, apart=True)
        for changes in (write.changes, tuple(c for c in undone if c is not None))
    )


def why_off(connection: str, write: Write, habits: Habits) -> str:
    """Why this write may not go out, and what to do; empty if it may."""
    reason = _reason(connection, lines_missing(write, habits), habits)
    return f"writes of this kind to {connection} are off: {reason}" if reason else ""


def write_rights(connection: str, habits: Habits) -> tuple[WriteRight, ...]:
    """Each kind of write to a system, and why it is off."""
    found = []
    for table, suffix in ((ALONE, ""), (TOGETHER, ", several together")):
        for interaction, ways in table.items():
            missing = _missing(ways, habits)
            lines = tuple(line for line in PROBED if line in missing)
            reason = _reason(connection, lines, habits)
            if table is TOGETHER and lines and not _missing(ALONE[interaction], habits):
                reason = f"{reason}. {SAY_APART}"
            found.append(WriteRight(kind=f"{interaction}{suffix}", on=not lines, sentence=reason))
    return tuple(found)


def _undoing(change: Change, habits: Habits) -> Change | None:
    """Of the kind of what would take it back; None: nothing can."""
    if change.interaction == "delete":
        return None
    if change.interaction != "create":
        return replace(change, interaction="update")
    if change.resource_type in habits.dialect.stand_ins:
        return replace(change, interaction="patch")
    return replace(change, interaction="delete")


def _missing(ways: Ways, habits: Habits) -> frozenset[str]:
    lacking = [frozenset(x for x in COMMON | way if not habits.holds(x)) for way in ways]
    return min(lacking, key=len)


def _reason(connection: str, missing: tuple[str, ...], habits: Habits) -> str:
    if not missing:
        return ""
    command = f"`chartgate probe {connection}`"
    if not habits.verdicts:
        return f"nothing is known of it yet; run {command}"
    # What could not be tried failed because of something that was.
    tried = [line for line in missing if not habits.told_of(line).startswith(NOT_TRIED)]
    telling = tried or list(missing)
    told = "; ".join(_told(line, habits) for line in telling[:LINES_SHOWN])
    more = len(missing) - len(telling[:LINES_SHOWN])
    rest = f"; and {more} more" if more > 0 else ""
    return f"{command} has not shown {told}{rest}. {remedy(telling[0])}, then run {command} again"


def _told(line: str, habits: Habits) -> str:
    seen = habits.told_of(line)
    return f"{line}: {PROBED[line]}" + (f" ({seen})" if seen else "")
