"""Checks the whole ledger against itself, its signed heads and its witness.

Everything is computed anew from the events' bytes, in batches, so memory stays flat. This is our
own check, for the operator; a stranger uses tools/verify_ledger.py, which shares no code with it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import orjson

from chartgate.errors import Invalid
from chartgate.formats.checkpoint import Checkpoint, VerificationKey, open_checkpoint
from chartgate.formats.merkle import Frontier, Node, Span, leaf_hash
from chartgate.store.database import Database, Row
from chartgate.store.ledger import Backlog, Head, LedgerStore
from chartgate.store.witness import Witness

BATCH = 2_000
PRUNED = "retention.prune"  # the action whose events say which numbers were let go
FINDINGS_MAX = 100  # named one by one; more are only counted


@dataclass(frozen=True, kw_only=True)
class LedgerVerdict:
    """What the check found. `findings` are sentences; none means that the ledger holds."""

    events: int
    pruned: int  # of them, let go for age: their hashes are kept
    heads: int
    witnessed: int  # heads in the witness file
    waiting: int  # events that have no number yet, which is no fault
    unsigned: int  # events with a number that no head covers yet
    findings: tuple[str, ...]
    finding_count: int  # `findings` names the first of them

    @property
    def holds(self) -> bool:
        return self.finding_count == 0


async def verify(
    database: Database,
    *,
    witness: Witness,
    public_key: VerificationKey,
    earlier_keys: Sequence[VerificationKey] = (),
    progress: Callable[[int, int], None] | None = None,
) -> LedgerVerdict:
    """Checks every event, number, node, head and signature, by `public_key` and, in their order,
    those that handed over to it. Raises Unavailable.

    Safe beside a running sequencer: it looks at what was there when it began.
    """
    store = LedgerStore(database)
    # In this order, so that a head signed meanwhile is never ahead of the events looked at.
    length = witness.length()
    async with database.connection() as connection:
        newest = await store.newest_head(connection)
        size = await store.size(connection)
        keys = (*(key for key in earlier_keys if key != public_key), public_key)
        check = _Check(database.tenant, keys, witness.notes(bytes_max=length))
        while check.size < size:
            first, end = check.size, min(check.size + BATCH, size)
            rows = await store.leaves(connection, first=first, end=end, count_max=BATCH)
            nodes = check.events(rows, await store.heads(connection, above=first, up_to=end), end)
            wanted = [Span(node.level, node.idx, node.idx + 1) for node in nodes]
            check.nodes(nodes, await store.nodes(connection, wanted))
            if progress:
                progress(end, size)
        if newest and newest.size > size:
            check.cut_heads(await store.heads(connection, above=size, up_to=newest.size))
        check.rest_of_witness()
        if newest and not witness.exists():
            check.lost_witness(witness)
        backlog = await store.backlog(connection)
    return check.verdict(backlog)


class _KeyRing:
    """The ledger's keys, each of which signs until a head bears its signature and the next's."""

    def __init__(self, keys: Sequence[VerificationKey]) -> None:
        self._keys = list(keys)

    def open(self, note: str) -> Checkpoint:
        """As `open_checkpoint`, by the key whose time it is."""
        checkpoint = open_checkpoint(note, self._keys[0])
        if len(self._keys) > 1:
            with suppress(Invalid):
                open_checkpoint(note, self._keys[1])
                del self._keys[0]
        return checkpoint


class _Check:
    """The check under way: the tree so far, and what was found."""

    def __init__(self, tenant: str, keys: Sequence[VerificationKey], notes: Iterator[str]) -> None:
        self.size = 0
        self._tenant = tenant
        self._stored_by = _KeyRing(keys)
        self._witnessed_by = _KeyRing(keys)
        self._frontier = Frontier()
        self._heads = 0
        self._covered = 0
        self._witnessed = 0
        self._gone: list[int] = []  # numbers without an event
        self._let_go: list[range] = []  # numbers that an event says were let go
        self._findings: list[str] = []
        self._finding_count = 0
        self._witness = self._witness_heads(notes)
        self._expected = next(self._witness, None)

    def events(self, rows: Sequence[Row], heads: Sequence[Head], end: int) -> list[Node]:
        """Adds the events up to number `end`, comparing with each head on the way."""
        by_number = {row["seq"]: row for row in rows}
        by_size = {head.size: head for head in heads}
        nodes = []
        for seq in range(self.size, end):
            nodes += self._frontier.append(self._event(seq, by_number.get(seq)))
            self.size = seq + 1
            if self.size in by_size:
                self._head(by_size[self.size])
            while self._expected and self._expected.size == self.size:
                self._compare(self._expected, "the witness")
                self._expected = next(self._witness, None)
        return nodes

    def nodes(self, nodes: Sequence[Node], stored: Mapping[tuple[int, int], bytes]) -> None:
        """Compares inner nodes, of which proofs are made."""
        for node in nodes:
            if stored.get((node.level, node.idx)) != node.hash:
                self._found(f"node {node.idx} of level {node.level} is not that of its leaves")

    def cut_heads(self, heads: Sequence[Head]) -> None:
        """Heads of more events than there are."""
        for head in heads:
            self._found(
                f"a head of {head.size} events was signed, but only {self.size} have a number"
            )

    def rest_of_witness(self) -> None:
        """Heads of the witness that the ledger does not reach."""
        ahead = self._expected
        for ahead in self._witness:  # noqa: B007  the last one says most
            pass
        if ahead:
            self._found(
                f"the witness knows a head of {ahead.size} events, but only {self.size} have a "
                "number: the tail was cut, or the store was restored from an older copy"
            )

    def lost_witness(self, witness: Witness) -> None:
        """Whoever cut the ledger could have removed it, too."""
        self._found(f"heads were signed, but the witness file {witness.path} is gone")

    def verdict(self, backlog: Backlog) -> LedgerVerdict:
        """The sum of it."""
        for seq in self._gone:
            if not any(seq in numbers for numbers in self._let_go):
                self._found(f"event {seq} is gone")
        if backlog.passed:
            self._found(
                f"{backlog.passed} events lie behind the sequencer without a number: a row was "
                "put in behind its back, or a leaf was taken away"
            )
        return LedgerVerdict(
            events=self.size,
            pruned=len(self._gone),
            heads=self._heads,
            witnessed=self._witnessed,
            waiting=backlog.waiting,
            unsigned=self.size - self._covered,
            findings=tuple(self._findings),
            finding_count=self._finding_count,
        )

    def _event(self, seq: int, row: Row | None) -> bytes:
        """Checks one event; the hash of its leaf, as stored if the event was let go."""
        if row is None:
            self._found(f"number {seq} is missing")
            return leaf_hash(b"")
        body: bytes | None = row["body"]
        if body is None:
            self._gone.append(seq)
            return bytes(row["hash"])
        if leaf_hash(body) != row["hash"]:
            self._found(f"event {seq} is not what was hashed")
        elif not _columns_agree(row, body, self._tenant):
            self._found(f"the columns of event {seq} do not say what its body says")
        elif row["action"] == PRUNED:
            with suppress(ValueError, KeyError, TypeError):
                says = orjson.loads(body)["details"]
                self._let_go.append(range(int(says["first"]), int(says["end"])))
        return leaf_hash(body)

    def _head(self, head: Head) -> None:
        self._heads += 1
        self._covered = head.size
        try:
            checkpoint = self._stored_by.open(head.checkpoint)
        except Invalid as error:
            self._found(f"the stored head of {head.size} events: {error}")
            return
        if (checkpoint.size, checkpoint.root) != (head.size, head.root):
            self._found(f"the stored head of {head.size} events is not the one that was signed")
        self._compare(checkpoint, "the store")

    def _compare(self, head: Checkpoint, place: str) -> None:
        if head.root != self._frontier.root():
            self._found(
                f"the first {head.size} events are not those that the head in {place} was signed "
                "over: rewritten, or another history"
            )

    def _witness_heads(self, notes: Iterator[str]) -> Iterator[Checkpoint]:
        """The heads that the witness vouches for, as far as they grow."""
        size = 0
        for note in notes:
            self._witnessed += 1
            try:
                checkpoint = self._witnessed_by.open(note)
            except Invalid as error:
                self._found(f"head {self._witnessed} in the witness file: {error}")
                continue
            if checkpoint.size < max(size, 1):
                self._found(
                    f"the witness file goes back from {size} events to {checkpoint.size}: the "
                    "ledger was rewound"
                )
                continue
            size = checkpoint.size
            yield checkpoint

    def _found(self, sentence: str) -> None:
        self._finding_count += 1
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(sentence)


def _columns_agree(row: Row, body: bytes, tenant: str) -> bool:
    """Whether the columns that queries use say what the leaf says."""
    try:
        record = orjson.loads(body)
        return bool(
            record["tenant"] == tenant
            and record["action"] == row["action"]
            and record["agent"] == row["agent"]
            and record["outcome"] == row["outcome"]
            and record.get("patient") == row["patient"]
            and record.get("site") == row["site"]
            and record.get("patients") == row["patients"]
            and datetime.fromisoformat(record["recorded"]) == row["recorded"]
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
