"""What an adapter can do: three small protocols. An adapter implements those it has."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from chartgate.model.resource import Copy, NotModified, SearchPage
from chartgate.model.write import Receipt, Write

Criteria = Sequence[tuple[str, str]]  # FHIR search parameters, in order


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

    async def commit(self, write: Write) -> Receipt:
        """Applies all changes as one, each with its precondition.

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

    def differences(self, write: Write, receipt: Receipt, after: Sequence[Copy]) -> list[str]:
        """Element paths in which the read-back differs from what was sent, beyond what the
        dialect is known to change (id, meta, and what it names)."""
        ...


class Acknowledge(Protocol):
    """Answers one message; called once its bytes are durable."""

    async def __call__(self, ack: bytes) -> None: ...


@runtime_checkable
class Feed(Protocol):
    """Brings messages in; each waits for its acknowledgement."""

    def messages(self) -> AsyncIterator[tuple[bytes, str, Acknowledge]]:
        """Raw message, peer name, and what to call with the ACK."""
        ...
