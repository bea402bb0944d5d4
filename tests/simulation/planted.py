"""Three faults as somebody might make them, planted one at a time: the simulator must find each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

from chartgate.errors import NotFound
from chartgate.flows import commits, rollbacks
from chartgate.flows.sending import send
from chartgate.flows.undo_ground import Ground
from chartgate.gate import Gate
from chartgate.model.proposal import Proposal
from chartgate.model.write import Prepared, Receipt
from chartgate.store.proposals import Direction, LastLook, ProposalStore


@contextmanager
def no_last_look() -> Iterator[None]:
    """A write goes out without a look whether a halt came, or the lease went, meanwhile."""

    async def fine(_: ProposalStore, __: Proposal, *, now: datetime, **___: bool) -> LastLook:
        return LastLook(halted=None, waits=False, lease_until=now + timedelta(hours=1))

    with patch.object(ProposalStore, "last_look", fine):
        yield


@contextmanager
def no_resolving() -> Iterator[None]:
    """What was sent and not answered is taken for not written, and sent again."""

    async def none(gate: Gate, proposal: Proposal, attempts: Sequence[Any]) -> None:
        return None

    with patch.object(commits, "find_effect", none), patch.object(rollbacks, "find_effect", none):
        yield


@contextmanager
def blind_rollback() -> Iterator[None]:
    """What is taken back is written over whatever is there now, without a look at it."""

    async def anything_goes(gate: Gate, proposal: Proposal) -> Ground:
        return Ground(write=proposal.compensation)

    async def over_anything(
        gate: Gate, proposal: Proposal, _: Direction, __: int, prepared: Prepared
    ) -> Receipt:
        source, changes = gate.source(proposal.connection), []
        for change in prepared.write.changes:
            try:
                now = await source.read(change.reference or "")
            except NotFound:
                changes.append(change)
            else:
                changes.append(replace(change, if_match=now.version))
        return await send(gate, proposal, replace(prepared.write, changes=tuple(changes)))

    with (
        patch.object(rollbacks, "look", anything_goes),
        patch.object(rollbacks, "send_attempt", over_anything),
    ):
        yield


PLANTED: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "no-last-look": no_last_look,
    "no-resolving": no_resolving,
    "blind-rollback": blind_rollback,
}
