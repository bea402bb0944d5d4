"""How everything stands, in one look: queues, who takes nothing, proposals, stages, halts, write
rights, ledger."""

from dataclasses import dataclass

from chartgate.flows import ledger
from chartgate.flows.ledger import Standing as LedgerStanding
from chartgate.formats.checkpoint import VerificationKey
from chartgate.gate import Gate
from chartgate.store.atna import AtnaStanding, AtnaStore
from chartgate.store.halts import Halt, HaltStore
from chartgate.store.outbox import OutboxStore, Stuck
from chartgate.store.stages import StageStore
from chartgate.store.standing import Probed, Queue, StandingStore
from chartgate.store.witness import Witness


@dataclass(frozen=True, kw_only=True)
class Status:
    """Counts and times; nothing of any chart."""

    queues: tuple[Queue, ...]
    proposals: dict[str, int]
    stages: dict[str, str]  # by charter
    halts: tuple[Halt, ...]
    probed: tuple[Probed, ...]
    stuck: tuple[Stuck, ...]  # clients that do not take their notifications
    atna: tuple[AtnaStanding, ...]  # what each audit record repository has
    ledger: LedgerStanding


async def status(gate: Gate, *, witness: Witness, public_key: VerificationKey) -> Status:
    """Reads the store. Raises Unavailable."""
    store = StandingStore(gate.database)
    stages = StageStore(gate.database)
    return Status(
        queues=await store.queues(at=gate.clock()),
        proposals=await store.proposals(),
        stages={c.name: await stages.current(c) for c in gate.charters.charters.values()},
        halts=await HaltStore(gate.database).listed(),
        probed=await store.probed(),
        stuck=await OutboxStore(gate.database).stuck(),
        atna=await AtnaStore(gate.database).standing(),
        ledger=await ledger.standing(gate.database, witness=witness, public_key=public_key),
    )
