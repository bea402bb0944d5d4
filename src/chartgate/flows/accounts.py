"""Accounts as operators keep them: sealed ones for when the provider is down, who there is, and
whose account has ended. Each of these works at once, in every process."""

import secrets
from collections.abc import Sequence
from datetime import timedelta

from chartgate.errors import Invalid, NotFound
from chartgate.flows.break_glass import end_all_of
from chartgate.flows.people import BREAK_GLASS, plain_secret, put_account
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.principal import Person, Process
from chartgate.store.governance import bump_epoch
from chartgate.store.people import Listed, PersonStore

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # 32 characters that are not taken for one another
SECRET_GROUPS = 6  # of five: 150 bits, on a slip of paper in an envelope
GROUP_LENGTH = 5


async def seal(gate: Gate, name: str, sites: Sequence[str], *, by: Process | Person) -> str:
    """Makes a sealed account, or seals it anew; its one-time secret, which is shown only now.
    Raises Invalid."""
    if not sites:
        raise Invalid("a sealed account needs at least one site")
    account = await PersonStore(gate.database).account(name)
    if account is not None and not account.person.sealed and account.removed_at is None:
        raise Invalid(
            f"{name} is a person with a password; a sealed account needs a name of its own"
        )
    secret = "-".join(
        "".join(secrets.choice(ALPHABET) for _ in range(GROUP_LENGTH)) for _ in range(SECRET_GROUPS)
    )
    person = Person(id=name, roles=(BREAK_GLASS,), sites=tuple(dict.fromkeys(sites)), sealed=True)
    await put_account(gate, person, plain_secret(secret), action="person.seal", by=by)
    return secret


async def remove_person(gate: Gate, name: str, *, by: Process | Person) -> None:
    """Ends an account: its sessions and what it broke the glass for end with it, and nobody signs
    in by it again, whoever vouches for them. Raises NotFound."""
    now = gate.clock()
    store = PersonStore(gate.database)
    event = AuditEvent(
        recorded=now, action="person.remove", agent=by.agent, entities=(f"Person/{name}",)
    )
    async with gate.database.change(event) as transaction:
        if not await store.remove(transaction, name, now=now):
            raise NotFound(f"there is no {name} who could be removed")
        await end_all_of(gate, transaction, name, by=by)
        await bump_epoch(transaction, gate.database.tenant)


async def restore_person(gate: Gate, name: str, *, by: Process | Person) -> None:
    """Takes a removal back. Who has a password here needs a new one. Raises NotFound."""
    event = AuditEvent(
        recorded=gate.clock(),
        action="person.restore",
        agent=by.agent,
        entities=(f"Person/{name}",),
    )
    async with gate.database.change(event) as transaction:
        if not await PersonStore(gate.database).restore(transaction, name):
            raise NotFound(f"there is no {name} who was removed")


async def end_sessions(gate: Gate, name: str, *, by: Process | Person) -> int:
    """Signs somebody out everywhere; how many sessions there were. Raises NotFound."""
    store = PersonStore(gate.database)
    event = AuditEvent(
        recorded=gate.clock(),
        action="person.sign-out",
        agent=by.agent,
        entities=(f"Person/{name}",),
        details=(("sessions", "all"),),
    )
    async with gate.database.change(event) as transaction:
        if not await store.lock(transaction, name):
            raise NotFound(f"there is no {name}")
        ended = await store.end_sessions(transaction, name)
        await bump_epoch(transaction, gate.database.tenant)
    return ended


async def listed(gate: Gate) -> tuple[Listed, ...]:
    """Everybody who may sign in, or might once."""
    now = gate.clock()
    idle_since = now - timedelta(seconds=gate.config.web.session_idle_s)
    return await PersonStore(gate.database).listed(now=now, idle_since=idle_since)
