"""The id of the last decision that policy came to on behalf of the task at hand, for the header
Chartgate-Decision of its answer."""

from contextvars import ContextVar

from chartgate.model.decision import Decision

_LAST: ContextVar[str] = ContextVar("chartgate_decided", default="")


def note(decision: Decision) -> Decision:
    """Notes the decision, and gives it back."""
    _LAST.set(decision.id)
    return decision


def forget() -> None:
    """Before a request: nothing was decided yet."""
    _LAST.set("")


def last() -> str:
    """The id, or an empty text where nothing was decided."""
    return _LAST.get()
