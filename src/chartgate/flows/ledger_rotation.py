"""A new signing key for the ledger, without a gap in its proof.

The old key gives its word for the new one in an event of the tree, and the head over that event
bears the signatures of both. From then on only the new key counts. A rotation that is broken off
stops the signing until the same command is given again, which finishes it.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import orjson

from chartgate.errors import Invalid, Unavailable
from chartgate.flows.ledger import BATCH_MAX, check_agreement
from chartgate.formats.checkpoint import Signer, VerificationKey, open_checkpoint
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.principal import Principal
from chartgate.store.audit_search import AuditSearch, Criteria
from chartgate.store.ledger import Head, LedgerStore
from chartgate.store.signing_keys import begin_rotation, end_rotation
from chartgate.store.witness import Witness

ACTION = "ledger.rotate-key"
TRIES = 300  # for the event to be numbered: a long transaction of somebody else's holds it up
TRY_EVERY_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """What a rotation did."""

    old: VerificationKey
    new: VerificationKey
    size: int  # events under the head on which the key changed hands


async def rotate(gate: Gate, who: Principal, key_file: Path, witness: Witness) -> Rotated:
    """Hands over to a new key, or finishes that. Raises ConfigError, LedgerRewound, Unavailable;
    then the same call goes on."""
    origin = gate.config.ledger.origin
    old, new = await asyncio.to_thread(begin_rotation, key_file, origin=origin)
    head = await _handed_over(gate, old, new)
    if head is None:
        await _record(gate, who, old, new)
        await _wait_for_number(gate, new)
        head = await _hand_over(gate, old, new, witness)
    await asyncio.to_thread(end_rotation, key_file, old.key, new.key)
    return Rotated(old=old.key, new=new.key, size=head.size)


async def _handed_over(gate: Gate, old: Signer, new: Signer) -> Head | None:
    """The newest head, if both keys have signed it: only the files were left to be moved."""
    async with gate.database.connection() as connection:
        newest = await LedgerStore(gate.database).newest_head(connection)
    if newest is None:
        return None
    try:
        open_checkpoint(newest.checkpoint, old.key)
        open_checkpoint(newest.checkpoint, new.key)
    except Invalid:
        return None
    return newest


async def _record(gate: Gate, who: Principal, old: Signer, new: Signer) -> None:
    event = AuditEvent(
        recorded=gate.clock(),
        action=ACTION,
        agent=who.agent,
        details=(
            ("old", str(old.key)),
            ("new", str(new.key)),
            ("endorsement", old.endorse(new.key)),
        ),
    )
    async with gate.database.change(event):
        pass


async def _wait_for_number(gate: Gate, new: Signer) -> None:
    """Numbers events until that of this rotation has its own."""
    search, ledger = AuditSearch(gate.database), LedgerStore(gate.database)
    for _ in range(TRIES):
        await ledger.sequence(batch_max=BATCH_MAX)
        for found in await search.search(Criteria(action=ACTION), count_max=1):
            if found.seq is not None and _names(found.body, new.key):
                return
        await asyncio.sleep(TRY_EVERY_S)
    raise Unavailable(
        "a long transaction holds up the ledger, so the key could not change hands; end it, and "
        "run the same command again"
    )


async def _hand_over(gate: Gate, old: Signer, new: Signer, witness: Witness) -> Head:
    """The head that both keys sign; the witness has it before the store."""
    store = LedgerStore(gate.database)
    for _ in range(TRIES):
        async with store.lead() as connection:
            if connection is not None:
                size = await store.size(connection)
                await check_agreement(store, connection, old.key, witness, size=size)
                root = (await store.frontier(connection, size)).root()
                head = Head(
                    size=size,
                    root=root,
                    signed_at=gate.clock(),
                    checkpoint=old.hand_over(new, size, root),
                )
                await asyncio.to_thread(witness.append, head.checkpoint)
                await store.keep_head(connection, head)
                return head
        await asyncio.sleep(TRY_EVERY_S)
    raise Unavailable("another process leads the ledger all the time; run the same command again")


def _names(body: bytes, key: VerificationKey) -> bool:
    details = orjson.loads(body).get("details", {})
    return bool(details.get("new") == str(key))
