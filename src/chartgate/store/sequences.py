"""Feeds whose messages are numbered: the number that is awaited moves with the message that had
it, in one transaction. Source: HL7 v2.9 section 2.10.1, sequence number protocol.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chartgate.model.audit import AuditEvent
from chartgate.model.message import Arrival, Expected, SequenceMark, Stored
from chartgate.store.database import Connection, Database
from chartgate.store.inbox import InboxStore, key_of
from chartgate.store.queries import load_queries

QUERIES = load_queries("sequences.sql")

ANY = -1  # the link is new, or numbered anew: the next positive number is the right one
LAST = 2_000_000_000  # then it starts at 1 again

Link = tuple[str, str]  # connection and sender


class SequenceStore:
    """The numbered links of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(
        self, items: Sequence[Arrival | SequenceMark], accepted: AuditEvent, moved: AuditEvent
    ) -> tuple[Stored | Expected, ...]:
        """As `InboxStore.accept`, in the order of the numbers: an arrival out of its turn is not
        taken, and is told what is expected, as a mark is. `moved` is left once for each link
        whose number moved. Raises Unavailable.
        """
        inbox = InboxStore(self._database)
        arrivals = [item for item in items if isinstance(item, Arrival)]
        async with self._database.change_found() as (transaction, audit):
            before = await self._locked(transaction, {_link(item) for item in items})
            stored = await inbox.accepted_in(transaction, arrivals) if arrivals else {}
            walk = _Walk(expected=dict(before), stored=stored)
            said = tuple(walk.step(item) for item in items)
            if walk.taken:
                await inbox.accept_in(transaction, walk.taken, accepted)
            after = {link: n for link, n in walk.expected.items() if before[link] != n}
            await self._move(transaction, after)
            audit.extend(_moved(moved, link, number) for link, number in after.items())
        return said

    async def reset(
        self, connection: str, sender: str, *, expected: int, audit: AuditEvent
    ) -> None:
        """A person decides what is expected next; ANY: whatever the sender likes."""
        async with self._database.change(audit) as transaction:
            tenant = self._database.tenant
            await transaction.execute(QUERIES["reset_link"], tenant, connection, sender, expected)

    async def links(self) -> tuple[tuple[str, str, int], ...]:
        """Connection, sender and the number that is expected."""
        return tuple(tuple(row) for row in await self._database.fetch(QUERIES["select_links"]))

    async def _locked(self, transaction: Connection, links: set[Link]) -> dict[Link, int]:
        ordered = sorted(links)
        columns = [[c for c, _ in ordered], [s for _, s in ordered]]
        await transaction.execute(QUERIES["open_links"], self._database.tenant, *columns)
        rows = await transaction.fetch(QUERIES["lock_links"], self._database.tenant, *columns)
        return {(row["connection"], row["sender"]): row["expected"] for row in rows}

    async def _move(self, transaction: Connection, after: Mapping[Link, int]) -> None:
        links = list(after)
        await transaction.execute(
            QUERIES["move_links"],
            self._database.tenant,
            [connection for connection, _ in links],
            [sender for _, sender in links],
            list(after.values()),
        )


class _Walk:
    """What is expected moves on from one item to the next."""

    def __init__(
        self, *, expected: dict[Link, int], stored: dict[tuple[str, str, str], Stored]
    ) -> None:
        self.expected = expected
        self.taken: list[Arrival] = []
        self._stored = stored

    def step(self, item: Arrival | SequenceMark) -> Stored | Expected:
        link = _link(item)
        if isinstance(item, SequenceMark):
            if item.number == ANY:
                self.expected[link] = ANY
            return Expected(number=self.expected[link])
        key = key_of(item)
        if key in self._stored:  # its answer was lost, or it was sent twice
            return self._stored[key]
        assert item.sequence is not None, "the feed is numbered"
        if self.expected[link] not in (ANY, item.sequence):
            return Expected(number=self.expected[link])
        self.expected[link] = item.sequence + 1 if item.sequence < LAST else 1
        self.taken.append(item)
        self._stored[key] = replace(_stored(item), taken=False)
        return _stored(item)


def _stored(arrival: Arrival) -> Stored:
    return Stored(taken=True, ack=arrival.ack, digest=arrival.digest)


def _link(item: Arrival | SequenceMark) -> Link:
    return item.connection, item.sender


def _moved(event: AuditEvent, link: Link, number: int) -> AuditEvent:
    """Without the sender: it is what somebody else put into a message."""
    return replace(event, details=(("connection", link[0]), ("expected", str(number))))
