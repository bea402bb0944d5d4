"""The walk of the ledger: events get numbers, heads are signed, anyone can be shown a proof.

The witness file comes first: a head is in it before it is in the store, and no head is signed
that does not agree with the newest one in it. So a ledger that was cut, rewritten or restored
from an older copy stops being signed, and says so.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from chartgate.errors import Invalid, LedgerRewound, NotFound, Unavailable, mapped
from chartgate.flows.ledger_check import LedgerVerdict, verify
from chartgate.formats.checkpoint import Signer, VerificationKey, open_checkpoint
from chartgate.formats.merkle import (
    frontier_of,
    inclusion_ranges,
    leaf_hash,
    spans,
    verify_inclusion,
)
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Process
from chartgate.store.database import Connection, Database, Row
from chartgate.store.ledger import Head, LedgerStore, Sequenced
from chartgate.store.proven import Proven
from chartgate.store.signing_keys import SigningKey
from chartgate.store.witness import Witness

__all__ = [
    "LedgerVerdict",
    "Round",
    "Standing",
    "check_agreement",
    "export",
    "prove",
    "require_proof",
    "sequence_next",
    "sequence_round",
    "standing",
    "unsigned_s",
    "verify",
]

BATCH_MAX = 2_000  # events in one transaction of the sequencer: some 50 ms
EXPORT_BATCH = 2_000

EVENTS_FILE = "events.ndjson"
HEADS_FILE = "heads.txt"
KEY_FILE = "public_key.txt"

SAY_SETTLE = (
    "No head is signed until this is settled: bring back the newest copy of the database; or, if "
    "events are lost for good, keep the witness file under another name as the proof of it and "
    "put an empty file in its place"
)


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one call of the sequencer did."""

    count: int  # events that got a number
    merge_delay_s: float | None  # age of the oldest of them
    head: Head | None  # the head that was signed, if one was due


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How the ledger stands, for a status page."""

    size: int
    head_size: int
    head_signed_at: datetime | None
    waiting: int  # events without a number yet
    waiting_since: datetime | None
    trouble: str  # what is wrong and what to do; empty if nothing is


async def sequence_next(gate: Gate, signer: Signer | SigningKey, witness: Witness) -> int:
    """Numbers what has settled and signs a head if one is due; how many events got a number.

    Raises LedgerRewound while the store and the witness disagree; the numbers go on.
    """
    return (await sequence_round(gate, signer, witness)).count


async def sequence_round(gate: Gate, signer: Signer | SigningKey, witness: Witness) -> Round:
    """`sequence_next`, with all that it measured."""
    sequenced = await LedgerStore(gate.database).sequence(batch_max=BATCH_MAX)
    try:
        head = await _sign_if_due(gate, signer, witness)
    except LedgerRewound as error:
        if witness.agrees is not False:
            await _record_alarm(gate, str(error))
        witness.agrees = False
        raise
    return Round(count=sequenced.count, merge_delay_s=_delay_s(gate, sequenced), head=head)


def require_proof(gate: Gate) -> None:
    """From here on this process refuses reads and changes while heads lag too long."""
    max_s = gate.config.ledger.unsigned_max_s
    gate.database.proven = Proven(gate.database, max_s=max_s, clock=gate.clock)


async def unsigned_s(gate: Gate) -> float:
    """Age of the oldest event that no signed head covers; 0: there is none. Raises Unavailable."""
    max_s = gate.config.ledger.unsigned_max_s
    return await Proven(gate.database, max_s=max_s, clock=gate.clock).lag_s()


async def standing(
    database: Database, *, witness: Witness, public_key: VerificationKey
) -> Standing:
    """Size, newest head, backlog, and whether the witness agrees."""
    store = LedgerStore(database)
    async with database.connection() as connection:
        size = await store.size(connection)
        newest = await store.newest_head(connection)
        backlog = await store.waiting(connection)
        try:
            await check_agreement(store, connection, public_key, witness, size=size)
            trouble = ""
        except (LedgerRewound, Unavailable) as error:
            trouble = str(error)
    return Standing(
        size=size,
        head_size=newest.size if newest else 0,
        head_signed_at=newest.signed_at if newest else None,
        waiting=backlog.waiting,
        waiting_since=backlog.oldest,
        trouble=trouble,
    )


async def prove(database: Database, seq: int) -> dict[str, Any]:
    """Event `seq`, and the proof that it is under the newest signed head. Raises NotFound, or
    LedgerRewound if the tree does not lead to that head."""
    store = LedgerStore(database)
    async with database.connection() as connection:
        head = await store.newest_head(connection)
        if head is None or not 0 <= seq < head.size:
            signed = head.size if head else 0
            raise NotFound(f"no event {seq} under a signed head; {signed} are, from 0")
        [leaf] = await store.leaves(connection, first=seq, end=seq + 1, count_max=1) or [None]
        ranges = inclusion_ranges(seq, head.size)
        wanted = {span for part in ranges for span in spans(part.first, part.end)}
        nodes = await store.nodes(connection, wanted)
    try:
        proof = [frontier_of(part.first, part.end, nodes).root() for part in ranges]
    except KeyError:
        proof = []
    body = leaf["body"] if leaf else None
    leaf_digest = leaf_hash(body or b"")
    if body is None or not verify_inclusion(
        leaf_digest, proof, index=seq, size=head.size, root=head.root
    ):
        raise LedgerRewound(
            f"event {seq} is not what was signed; run `chartgate ledger verify` for what changed"
        )
    return {
        "seq": seq,
        "body": body.decode(),
        "leaf_hash": leaf_digest.hex(),
        "tree_size": head.size,
        "inclusion_proof": [hash_.hex() for hash_ in proof],
        "checkpoint": head.checkpoint,
    }


async def export(
    database: Database,
    path: Path,
    *,
    public_key: VerificationKey,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes all events under the newest signed head, the heads and the key into a new folder.

    Returns how many events. Calls `progress(done, all)` as it goes. Raises NotFound if no head
    is signed yet, Invalid if the folder cannot be written.
    """
    store = LedgerStore(database)
    say = f"{path} cannot be written; is there room, and may this user write there?"
    async with database.connection() as connection:
        head = await store.newest_head(connection)
        if head is None:
            raise NotFound("no head of the ledger is signed yet; is a worker running?")
        with mapped({OSError: Invalid}, say):
            _open_folder(path)
        first = 0
        while first < head.size:
            end = min(first + EXPORT_BATCH, head.size)
            rows = await store.leaves(connection, first=first, end=end, count_max=EXPORT_BATCH)
            heads = await store.heads(connection, above=first, up_to=end)
            with mapped({OSError: Invalid}, say):
                await asyncio.to_thread(_append_export, path, rows, heads)
            if progress:
                progress(end, head.size)
            first = end
    with mapped({OSError: Invalid}, say):
        (path / KEY_FILE).write_text(f"{public_key}\n", encoding="utf-8")
    return head.size


async def _sign_if_due(gate: Gate, signing: Signer | SigningKey, witness: Witness) -> Head | None:
    """Compares with the witness at the first call, before each head, and while it disagrees."""
    store = LedgerStore(gate.database)
    interval = timedelta(seconds=gate.config.ledger.interval_s)
    async with store.lead() as connection:
        if connection is None:
            return None
        size = await store.size(connection)
        newest = await store.newest_head(connection)
        now = gate.clock()
        # A clock that was set back must not stop the signing: hence abs.
        due = size != (newest.size if newest else 0) and (
            newest is None or abs(now - newest.signed_at) >= interval
        )
        if witness.agrees and not due:
            return None
        # Looked at as the leader: whoever rotates the key leads when it changes hands.
        signer = signing.signer() if isinstance(signing, SigningKey) else signing
        await check_agreement(store, connection, signer.key, witness, size=size)
        witness.agrees = True
        if not due:
            return None
        root = (await store.frontier(connection, size)).root()
        head = Head(size=size, root=root, signed_at=now, checkpoint=signer.sign(size, root))
        await asyncio.to_thread(witness.append, head.checkpoint)
        await store.keep_head(connection, head)
        return head


async def check_agreement(
    store: LedgerStore,
    connection: Connection,
    key: VerificationKey,
    witness: Witness,
    *,
    size: int,
) -> None:
    """Raises LedgerRewound unless the tree of `size` events begins as the newest head in the
    witness and the newest in the store say."""
    newest = await store.newest_head(connection)
    note = await asyncio.to_thread(witness.newest)
    if note is None and newest is not None and (not witness.exists() or witness.length()):
        raise LedgerRewound(
            f"the witness file {witness.path} is gone or holds no head, though heads were "
            f"signed. Bring it back. {SAY_SETTLE}"
        )
    stored = newest.checkpoint if newest else None
    for place, known in ((f"the witness file {witness.path}", note), ("the store", stored)):
        if known is None or (place == "the store" and known == note):
            continue
        try:
            head = open_checkpoint(known, key)
        except Invalid as error:
            raise LedgerRewound(
                f"the newest head in {place} does not hold under the signing key: {error}. Put "
                f"back the key that signed it. {SAY_SETTLE}"
            ) from None
        if head.size > size:
            raise LedgerRewound(
                f"{place} knows a head of {head.size} events, but the store holds only {size}: "
                f"its tail was cut, or it was restored from an older copy. {SAY_SETTLE}"
            )
        if (await store.frontier(connection, head.size)).root() != head.root:
            raise LedgerRewound(
                f"the first {head.size} events are not those whose head {place} knows: they "
                f"were rewritten, or the store was restored and went another way. {SAY_SETTLE}"
            )


async def _record_alarm(gate: Gate, reason: str) -> None:
    alarm = AuditEvent(
        recorded=gate.clock(),
        action="ledger.rewound",
        agent=Process(id="ledger").agent,
        outcome=Outcome.FAILED,
        reason=reason,
    )
    async with gate.database.change(alarm):
        pass


def _delay_s(gate: Gate, sequenced: Sequenced) -> float | None:
    if sequenced.oldest is None:
        return None
    return max(0.0, (gate.clock() - sequenced.oldest).total_seconds())


def _open_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise Invalid(f"{path} is not empty; name a new folder for the export")
    for name in (EVENTS_FILE, HEADS_FILE):
        (path / name).touch()


def _append_export(path: Path, rows: Sequence[Row], heads: Sequence[Head]) -> None:
    with (path / EVENTS_FILE).open("ab") as file:
        # Of an event that is gone the hash is left; verifiers ask for an event that says why.
        file.writelines(_export_line(r["seq"], r["hash"], r["body"]) for r in rows)
    with (path / HEADS_FILE).open("ab") as file:
        file.writelines(f"{head.checkpoint}\n".encode() for head in heads)


def _export_line(seq: int, hash_: bytes, body: bytes | None) -> bytes:
    if body is None:
        return orjson.dumps({"seq": seq, "hash": hash_.hex()}, option=orjson.OPT_APPEND_NEWLINE)
    try:
        line = {"seq": seq, "body": body.decode()}
    except UnicodeDecodeError:  # not as we wrote it; the verifier is to see just this
        line = {"seq": seq, "body_hex": body.hex()}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
