"""Caring for the vault: how it stands, a new master key, and a look at everything stored."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from chartgate.errors import ChartgateError, ConfigError
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.store.scrub import QUERIES as SCRUB
from chartgate.store.scrub import ScrubStore
from chartgate.store.vault import VaultStore
from chartgate.store.vault_keys import name_of, new_secret, read_secrets, write_secrets

AGENT = "process:worker"
LOOK_EVERY = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How the vault stands."""

    holds: bool  # the master key is here and is that of this store
    says: str
    master: str
    keys: int
    patients: int
    otherwise: int  # keys under a master key that is being replaced
    scrubbed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Scrub:
    """What a look at everything stored found."""

    tables: Mapping[str, Mapping[str, int]]
    damaged: int


async def standing(gate: Gate) -> Standing:
    """Changes nothing."""
    store = VaultStore(gate.database)
    vault, says, master = gate.database.vault, "every data key is under the master key", ""
    try:
        async with gate.database.connection() as connection:
            await vault.check(connection)
        master = vault.masters.newest.hex()
    except ChartgateError as error:
        says = str(error)
    counts = await store.counts()
    last = await gate.database.fetch_value(SCRUB["select_last"])
    return Standing(
        holds=bool(master),
        says=says,
        master=master,
        keys=counts["keys"],
        patients=counts["patients"],
        otherwise=counts["otherwise"],
        scrubbed_at=last,
    )


async def rotate(gate: Gate, file: Path, *, agent: str) -> tuple[int, Path]:
    """Puts a new master key in the file's place and every data key under it; how many, and where
    the old key lies now. Goes on where it was interrupted. Raises ConfigError, VersionConflict.

    Both keys stand in the file until no data key needs the old one, so that whatever runs goes on.
    """
    async with VaultStore(gate.database).turn():
        return await _rotate(gate, file, agent)


async def _rotate(gate: Gate, file: Path, agent: str) -> tuple[int, Path]:
    secrets = read_secrets(file)
    store = VaultStore(gate.database)
    async with gate.database.connection() as connection:
        await gate.database.vault.check(connection)
    if len(secrets) == 1:
        secrets = (new_secret(), *secrets)
        write_secrets(file, secrets)
    new, *old = secrets
    gate.database.vault.masters.reload()
    event = AuditEvent(
        recorded=gate.clock(),
        action="vault.rotate",
        agent=agent,
        details=(("master", name_of(new).hex()), ("replaces", name_of(old[0]).hex())),
    )
    async with gate.database.change(event) as transaction:
        await store.put_in_force_in(transaction, name_of(new))
    count = 0
    while wrapped := await store.rewrap_next(name_of(new)):
        count += wrapped
    retired = file.with_name(f"{file.name}.{name_of(old[0]).hex()}.old")
    write_secrets(retired, old)
    write_secrets(file, [new])
    gate.database.vault.masters.reload()
    return count, retired


async def scrub(gate: Gate, *, agent: str = AGENT) -> Scrub:
    """Opens everything stored and compares it with its digest; audited with counts."""
    tables: dict[str, Counter[str]] = {}
    async for page in ScrubStore(gate.database).pages():
        counts = tables.setdefault(page.table, Counter())
        counts.update(sound=page.sound, plain=page.plain, gone=page.gone, damaged=page.damaged)
    damaged = sum(counts["damaged"] for counts in tables.values())
    details = [("damaged", str(damaged))]
    details += [(f"sound:{name}", str(counts["sound"])) for name, counts in tables.items()]
    details += [
        (f"damaged:{name}", str(counts["damaged"]))
        for name, counts in tables.items()
        if counts["damaged"]
    ]
    event = AuditEvent(
        recorded=gate.clock(),
        action="vault.scrub",
        agent=agent,
        outcome=Outcome.FAILED if damaged else Outcome.SUCCESS,
        details=tuple(sorted(details)),
    )
    async with gate.database.change(event):
        pass  # nothing but what was found
    return Scrub(tables={name: dict(c) for name, c in tables.items()}, damaged=damaged)


class Scrubbing:
    """The worker's loop: a scrub where the last one is too long ago, by one worker at a time."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._next_at: datetime | None = None

    async def scrub_next(self) -> int:
        """1 where it did."""
        gate, hours = self._gate, self._gate.config.vault.scrub_every_h
        now = gate.clock()
        if not hours or (self._next_at is not None and now < self._next_at):
            return 0
        self._next_at = now + LOOK_EVERY
        last = await gate.database.fetch_value(SCRUB["select_last"])
        if last is not None and now - last < timedelta(hours=hours):
            return 0
        async with gate.database.connection() as connection:
            tenant = gate.database.tenant
            if not await connection.fetchval(SCRUB["take_turn"], tenant):
                return 0
            try:
                await scrub(gate)
            finally:
                await connection.fetchval(SCRUB["give_turn"], tenant)
        return 1


def secret_file(gate: Gate) -> Path:
    """The file of the master key. Raises ConfigError."""
    name = gate.config.vault.master_key_file
    if not name:
        raise ConfigError("no [vault] master_key_file is configured")
    return gate.config.path(name)
