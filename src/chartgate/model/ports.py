"""What an adapter can do: small protocols. An adapter implements those it has."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from chartgate.model.handoff import Listed, Shown
from chartgate.model.message import Received
from chartgate.model.resource import Copy, NotModified, SearchPage
from chartgate.model.verdict import Verdict, Verdicts, WriteRight
from chartgate.model.write import Receipt, Write

Criteria = Sequence[tuple[str, str]]  # FHIR search parameters, in order
LastLook = Callable[[], Awaitable[None]]  # raises if nothing may be sent any more


@runtime_checkable
class Source(Protocol):
    """Reads a system of record."""

    async def read(self, reference: str, *, if_none_match: str | None = None) -> Copy | NotModified:
        """FHIR `read`, conditional if a version is given.

        Raises NotFound, Throttled, SourceUnreachable.
        """
        ...

    async def search(self, resource_type: str, criteria: Criteria, *, count_max: int) -> SearchPage:
        """FHIR type search, following pages up to `count_max` matches. Raises as `read`."""
        ...

    async def history(self, reference: str, *, count_max: int) -> tuple[Copy, ...]:
        """Versions of one resource, newest first. Raises as `read`."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Changes a system of record."""

    async def commit(self, write: Write, *, last_look: LastLook | None = None) -> Receipt:
        """Applies all changes as one, each with its precondition.

        `last_look` is awaited directly before each request that writes is handed to the socket,
        a repeated one too, when all else that it needs is there. What it raises ends the commit
        and comes out as it is: nothing was written, and it says nothing about the system.

        Raises VersionConflict or WriteRefused (nothing was written), Throttled or
        SourceUnreachable (nothing was sent), OutcomeUnknown (sent, answer lost).
        """
        ...

    async def resolve(self, write: Write) -> Receipt | None:
        """Finds out by reading whether a sent write was applied; None: it was not, and cannot
        be any more. Raises SourceUnreachable, or OutcomeUnknown if reading cannot tell."""
        ...

    async def compensation(self, write: Write, receipt: Receipt, before: Sequence[Copy]) -> Write:
        """The write that undoes `write`: pre-images restored by If-Match on what we left, and
        what was created removed, or cancelled where the system has no delete. Sends nothing."""
        ...

    def differences(
        self,
        write: Write,
        receipt: Receipt,
        after: Sequence[Copy],
        before: Sequence[Copy] = (),
    ) -> list[str]:
        """Element paths in which the read-back differs from what was sent, beyond what the
        dialect is known to change (id, meta, and what it names). With the pre-images a patch is
        checked on the whole resource, without them only where it wrote."""
        ...


@runtime_checkable
class Messenger(Sink, Protocol):
    """A Sink that is told by messages (`Write.message`). Nothing can be read there: what its
    application answers stands in for a read-back, so `differences` looks at the receipt alone."""

    async def settle(self, write: Write, *, last_look: LastLook) -> Receipt | None:
        """Finds out what became of a sent message by sending the same one again, to a system that
        knows it again; None: it was refused. That may apply it, so `last_look` comes before, as
        in `commit`. Raises SourceUnreachable, Throttled, or OutcomeUnknown if that cannot tell."""
        ...


@runtime_checkable
class Cancels(Protocol):
    """A Sink that has something in place of deleting."""

    @property
    def stand_ins(self) -> Mapping[str, tuple[str, str]]:
        """By type: the element and the value that mean that it does not count any more."""
        ...


@runtime_checkable
class Stepwise(Protocol):
    """A Sink whose system may have nothing that holds several changes together."""

    def goes_apart(self, write: Write) -> bool:
        """Whether its changes must go one after the other, each as a write of its own that can
        be taken back; False: they go as one, or not at all."""
        ...


@runtime_checkable
class Probe(Protocol):
    """Finds out what a live system really does. It may write, and cleans up after itself."""

    async def probe(self, report: Callable[[Verdict], None]) -> tuple[Verdict, ...]:
        """Tries each line of the dialect, telling each verdict as it falls.

        Raises SourceUnreachable, Throttled.
        """
        ...

    def adopt(self, verdicts: Verdicts) -> None:
        """Acts by these verdicts from now on; they must be stored already."""
        ...


@runtime_checkable
class Rights(Protocol):
    """Knows which kinds of write may go out, by what a probe has shown."""

    def write_rights(self) -> tuple[WriteRight, ...]:
        """Each kind of write, and the sentence that says why it is off."""
        ...


@runtime_checkable
class Worklist(Protocol):
    """A list outside that staff already work from. Each item is put there at most once, which its
    marker sees to, and stands there as the handoff does."""

    async def put(self, shown: Shown, *, tried: bool, last_look: LastLook | None = None) -> Listed:
        """Puts an item there, or finds what an earlier try put there (`tried`: there may have
        been one), and reads it back. `last_look` as in `Sink.commit`.

        Raises WriteRefused (nothing was written), Throttled or SourceUnreachable (nothing was
        sent), OutcomeUnknown (try again: the marker makes it one item).
        """
        ...

    async def look(self, reference: str, *, version: str | None) -> Listed | None:
        """How an item stands there now; None: as it was in that version.

        Raises NotFound, Throttled, SourceUnreachable.
        """
        ...

    async def show(
        self, listed: Listed, shown: Shown, *, last_look: LastLook | None = None
    ) -> Listed | None:
        """Brings what stands there in line; None: it says so already, and nothing was sent. A
        status only moves on. Raises VersionConflict where it changed meanwhile, and as `put`."""
        ...


Admitted = Any  # what `Intake.admit` gives; nobody but the intake looks inside


class NotTaken(Exception):
    """Nothing of a batch could be made durable. What to answer; then each line ends, so that
    nothing that was sent behind these messages can overtake them."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        super().__init__("nothing of the batch was taken")
        self.answers = answers


class Intake(Protocol):
    """Takes what a feed brings in, in two steps, so that one batch is read while the one before
    it is written."""

    def admit(self, received: Received) -> Admitted:
        """Looks at one message as it comes."""
        ...

    async def commit(self, batch: Sequence[Admitted]) -> Sequence[bytes | None]:
        """Makes them durable and gives the answers in the same order, when they may be sent; an
        empty one says: close without an answer, and None: no answer was asked for. Raises
        NotTaken."""
        ...


class ListenLimits(Protocol):
    """Where a feed listens and how much it takes; the config's [mllp] is one."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def message_bytes_max(self) -> int: ...
    @property
    def connections_max(self) -> int: ...
    @property
    def connections_per_peer_max(self) -> int: ...
    @property
    def in_flight_max(self) -> int: ...
    @property
    def idle_timeout_s(self) -> float: ...
    @property
    def batch_max(self) -> int: ...


@runtime_checkable
class Feed(Protocol):
    """Brings messages in, each answered only after it is durable."""

    async def listen(
        self, intake: Intake, limits: ListenLimits, *, ready: Callable[[int], None]
    ) -> None:
        """Serves until cancelled; `ready` is told the port once connections are taken.

        Raises ConfigError where the port cannot be had.
        """
        ...


@runtime_checkable
class Transmitter(Protocol):
    """Sends messages to a system, each until that system acknowledges it."""

    @property
    def missing(self) -> str:
        """What must be configured before anything can be sent; empty: nothing is missing."""
        ...

    @property
    def timeout_s(self) -> float:
        """How long one `send` takes at most."""
        ...

    async def send(
        self, raw: bytes, *, control_id: str, lane: str, last_look: LastLook | None = None
    ) -> bytes:
        """Sends one message on the connection of its lane, and gives the acknowledgement that
        names its control id. Messages of one lane are sent one after the other.

        `last_look` as in `Sink.commit`. After an error the connection of the lane is closed, so
        that no answer to this try is taken for one to the next.

        Raises SourceUnreachable (nothing was sent), OutcomeUnknown (sent, answer lost or none).
        """
        ...

    async def hang_up(self, lane: str) -> None:
        """Closes the connection of a lane, if there is one."""
        ...
