"""What stands of a write whose changes go one after the other, in a sentence for staff.

References only, never what is in them: the sentence goes to worklists, logs and the audit.
"""

from collections.abc import Iterable, Sequence

from chartgate.model.write import Change
from chartgate.store.proposals import Attempt

SAY_PARTLY = "it was written in part: "
SAY_PARTLY_UNDONE = "it was taken back in part: "
SAY_LOOK = "look at the record"


def state_of_commit(attempt: Attempt, undo: Attempt | None = None, *, unsure: bool = False) -> str:
    """What stands of a commit, and of its taking back if that began. `unsure`: the change that
    is next may have been made."""
    made = [effect.reference for effect in attempt.done]
    rest = _named(attempt.prepared.write.changes[len(made) :])
    undone = len(undo.done) if undo else 0
    stands, taken = made[: len(made) - undone], made[len(made) - undone :]
    doubtful: list[str] = []
    if unsure and undo is not None and stands:
        doubtful = [stands.pop()]
    elif unsure and undo is None and rest:
        doubtful = [rest.pop(0)]
    said = _said(stands=stands, taken=taken[::-1], rest=rest, doubtful=doubtful)
    return f"{SAY_PARTLY if made else ''}{said}; {SAY_LOOK}"


def state_of_rollback(attempt: Attempt, *, unsure: bool = False) -> str:
    """What a rollback took back and what stands. `unsure` as for a commit."""
    taken = [effect.reference for effect in attempt.done]
    stands = _named(attempt.prepared.write.changes[len(taken) :])
    doubtful = [stands.pop(0)] if unsure and stands else []
    said = _said(stands=stands, taken=taken, rest=(), doubtful=doubtful)
    return f"{SAY_PARTLY_UNDONE if taken else ''}{said}; {SAY_LOOK}"


def going_apart(attempts: Sequence[Attempt]) -> Attempt | None:
    """Of open attempts the one that staff must know of; None: none goes one after the other."""
    apart = [a for a in attempts if a.prepared.write.apart]
    return max(apart, key=lambda a: (bool(a.done), a.number), default=None)


def _said(
    *, stands: Sequence[str], taken: Sequence[str], rest: Sequence[str], doubtful: Sequence[str]
) -> str:
    parts = (
        (stands, "was written and stands", "were written and stand"),
        (taken, "was taken back", "were taken back"),
        (rest, "was not written", "were not written"),
    )
    said = [f"{', '.join(n)} {one if len(n) == 1 else more}" for n, one, more in parts if n]
    said += [f"what became of {name} could not be found out" for name in doubtful]
    return "; ".join(said)


def _named(changes: Iterable[Change]) -> list[str]:
    return [change.reference or f"a new {change.resource_type}" for change in changes]
