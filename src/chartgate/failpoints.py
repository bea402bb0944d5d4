"""Named places on the way of a write at which a drill lets a process die, hang or lose its store.

Each place is one call, `failpoint("c08")`, in the code that every write takes. Nothing is armed in
production, and nothing in the config, in the environment or on the wire can arm anything: only
code that runs in the same process can, as the tests, the simulator and `make chaos` do. What is
not armed costs one look into an empty dictionary.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Act = Callable[[], None]  # ends the process, raises, waits for something outside

POINTS: Mapping[str, str] = {
    "c01": "a submission is read; nothing of it is in the store",
    "c02": "the proposal is durable; nothing is answered",
    "c03": "the submission is checked; it is not in the queue",
    "c04": "a person decided; the decision is not durable",
    "c05": "decision, audit event and wake-up are written, in a transaction that is still open",
    "c06": "a worker leased an approved proposal",
    "c07": "its guards were looked at, live",
    "c08": "the intent to write is durable; nothing was sent",
    "c09": "half of the request is on the wire",
    "c10": "the system of record answered; nothing of the answer was read",
    "c11": "the answer is read; what it says is not durable",
    "c12": "the receipt is durable; whether it was read back is not",
    "c13": "the read-back agreed; the verification is not durable",
    "c14": "the verification and its audit event are durable; nobody was told",
    "c15.06": "as c06, of a rollback",
    "c15.07": "as c07, of a rollback: no halt is in force",
    "c15.08": "as c08, of a rollback",
    "c15.11": "as c11, of a rollback",
    "c15.13": "as c13, of a rollback",
    "c15.14": "as c14, of a rollback",
    "c16.start": "a worker starts, and frees what its dead predecessors had in hand",
    "c16.migration": "a migration is written, in a transaction that is still open",
    "c17.answered": "one change of several that go apart was made; nothing of it is durable",
    "c17.noted": "that change is noted; the next one is not sent",
    "c17.undo": "the intent to take back what was made is durable; nothing was sent",
}

_armed: dict[str, Act] = {}


def failpoint(name: str) -> None:
    """Does what is armed here; in production nothing ever is."""
    if _armed and name in _armed:
        _armed[name]()


def is_armed(name: str) -> bool:
    """Whether something happens at `name`: for places that must be made before they are passed."""
    return name in _armed


def arm(name: str, act: Act, *, after: int = 0) -> None:
    """From now on `name` does `act`, once, at the pass that follows `after` others.

    Raises KeyError for a place that does not exist: a drill that meets nothing proves nothing.
    """
    if name not in POINTS:
        raise KeyError(f"there is no failpoint {name}; there are {', '.join(POINTS)}")
    left = after

    def once() -> None:
        nonlocal left
        if left:
            left -= 1
            return
        disarm(name)
        act()

    _armed[name] = once


def disarm(name: str | None = None) -> None:
    """Nothing happens at `name` any more, or nowhere."""
    if name is None:
        _armed.clear()
    else:
        _armed.pop(name, None)


@contextmanager
def armed(name: str, act: Act, *, after: int = 0) -> Iterator[None]:
    """As `arm`, as long as the block runs."""
    arm(name, act, after=after)
    try:
        yield
    finally:
        disarm(name)
