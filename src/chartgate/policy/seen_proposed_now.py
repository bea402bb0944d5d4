"""Element by element: what the AI saw, what it proposes, and what is there now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chartgate.model.proposal import Difference

# proposed: only the proposal changes it; moved: only the chart did; agreed: both, to the same;
# conflict: both, to something different.
Kind = Literal["proposed", "moved", "agreed", "conflict"]
ORDER: tuple[Kind, ...] = ("conflict", "moved", "proposed", "agreed")


@dataclass(frozen=True, kw_only=True)
class SeenProposedNow:
    """One element. None: not there; where `kind` is "moved", the proposal leaves it alone."""

    reference: str
    path: str
    seen: Any
    proposed: Any
    now: Any
    kind: Kind


def seen_proposed_now(
    proposed: Sequence[Difference], moved: Sequence[Difference]
) -> tuple[SeenProposedNow, ...]:
    """`proposed` is what the proposal would change, `moved` what the chart changed since the AI
    read it; what matters most comes first."""
    ours = {(d.reference, d.path): d for d in proposed}
    theirs = {(d.reference, d.path): d for d in moved}
    found = [_line(key, ours, theirs) for key in dict.fromkeys([*ours, *theirs])]
    return tuple(sorted(found, key=lambda line: ORDER.index(line.kind)))


def _line(
    key: tuple[str, str],
    ours: dict[tuple[str, str], Difference],
    theirs: dict[tuple[str, str], Difference],
) -> SeenProposedNow:
    reference, path = key
    mine, other = ours.get(key), theirs.get(key)
    kind: Kind
    if mine is not None and other is not None:
        same = type(mine.after) is type(other.after) and mine.after == other.after
        kind, seen, now = "agreed" if same else "conflict", other.before, other.after
    elif mine is not None:
        # A part, or the whole, of what the chart changed: another shape of the same element.
        overlaps = any(r == reference and _within(path, p) for r, p in theirs)
        kind, seen, now = "conflict" if overlaps else "proposed", mine.before, mine.before
    else:
        assert other is not None, "the key is of one of both"
        kind, seen, now = "moved", other.before, other.after
    return SeenProposedNow(
        reference=reference,
        path=path,
        seen=seen,
        proposed=None if mine is None else mine.after,
        now=now,
        kind=kind,
    )


def _within(one: str, other: str) -> bool:
    return one.startswith((f"{other}.", f"{other}[")) or other.startswith((f"{one}.", f"{one}["))
