"""A gate with nothing but a ledger, its key and its witness."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chartgate.config import Config
from chartgate.flows import ledger
from chartgate.flows.ledger import LedgerVerdict
from chartgate.formats.checkpoint import Signer
from chartgate.gate import Gate, Running
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.policy.charters import compile_book
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database
from chartgate.store.witness import Witness, create_signing_key, load_signer
from chartgate.testing.clock import FakeClock

TEXTS = ("plain", 'quoted "text" and \\', "tab\tand\x7f", "Größe 🩺 \u2028 end", "")


@dataclass(kw_only=True)
class Ledger:
    """What a test plays with."""

    gate: Gate
    clock: FakeClock
    signer: Signer
    witness: Witness

    @property
    def database(self) -> Database:
        return self.gate.database

    async def add(self, count: int) -> None:
        """Commits events, in one transaction."""
        events = [
            AuditEvent(
                recorded=self.clock(),
                action="fhir.read",
                agent="process:test",
                outcome=Outcome.DENIED if n % 7 == 0 else Outcome.SUCCESS,
                patient=f"Patient/{n}" if n % 3 else None,
                reason=TEXTS[n % len(TEXTS)],
                details=(("n", str(n)),),
            )
            for n in range(count)
        ]
        async with self.gate.database.change(*events):
            pass

    async def sequence(self) -> int:
        """Numbers all there is and signs a head."""
        self.clock.advance(1)
        total = 0
        while count := await ledger.sequence_next(self.gate, self.signer, self.witness):
            total += count
            self.clock.advance(1)
        return total

    async def grow(self, *counts: int) -> None:
        """One signed head after each of so many events."""
        for count in counts:
            await self.add(count)
            await self.sequence()

    async def verify(self) -> LedgerVerdict:
        return await ledger.verify(self.database, witness=self.witness, public_key=self.signer.key)

    async def export(self, path: Path) -> Path:
        """An export into a new folder, with what a stranger would have been given before."""
        await asyncio.to_thread(path.mkdir)
        witness = path / "witness-copy.txt"
        witness.write_bytes(self.witness.path.read_bytes())
        await ledger.export(self.database, path / "export", public_key=self.signer.key)
        return path


@asynccontextmanager
async def open_ledger(database: Database, clock: FakeClock, folder: Path) -> AsyncIterator[Ledger]:
    """A new key and witness in `folder`."""
    key_file = folder / "keys" / "ledger.pem"
    if not key_file.exists():
        create_signing_key(key_file)
    audit = AuditWriter(database)
    await audit.start()
    gate = Gate(
        config=Config(folder=folder),
        clock=clock,
        database=database,
        audit=audit,
        running=Running(charters=compile_book([])),
        sources={},
        sinks={},
    )
    signer = load_signer(key_file, origin=gate.config.ledger.origin)
    yield Ledger(
        gate=gate, clock=clock, signer=signer, witness=Witness(folder / "ledger-witness.txt")
    )
    await audit.close()
