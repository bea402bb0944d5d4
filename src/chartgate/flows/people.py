"""Staff sign in: argon2id passwords, a lock after failures, opaque sessions, a form token.

A wrong name and a wrong password take equally long and get one sentence. The cookie is random and
kept as a hash; nothing about the person is in it.
"""

import asyncio
import hashlib
import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chartgate.errors import Invalid, Unauthenticated
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Person, Process
from chartgate.store.people import PersonStore

# The defaults of argon2-cffi are RFC 9106's second recommendation.
# Source: https://www.rfc-editor.org/rfc/rfc9106#section-4
HASHER = PasswordHasher()
VERIFYING = threading.Semaphore(2)  # each takes 64 MiB: a flood of sign-ins must queue

NAME = re.compile(r"[a-z0-9][a-z0-9.\-_]{0,63}")
PASSWORD_MIN = 8  # characters; NIST SP 800-63B
PASSWORD_MAX = 1024
TOKEN_BYTES = 32
TOUCH_AFTER_S = 30.0  # a session notes its use at most this often
SAY_WRONG = "name or password is wrong, or the account is locked for a while"
SAY_SIGN_IN = "sign in first"


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """A session. `cookie` is the secret; `csrf` goes into each form."""

    cookie: str = field(repr=False)
    person: Person
    csrf: str = field(repr=False)


async def sign_in(gate: Gate, name: str, password: str) -> SignedIn:
    """Opens a session. Raises Unauthenticated with one sentence, whatever was wrong."""
    store = PersonStore(gate.database)
    account = await store.account(name) if NAME.fullmatch(name) else None
    now = gate.clock()
    right = await _verify(account.password_hash if account else None, password)
    locked = bool(account and account.locked_until and account.locked_until > now)
    if account is None or not right or locked:
        await _refuse(gate, name if account else None, count=account is not None and not locked)
        raise Unauthenticated(SAY_WRONG)
    signed_in = SignedIn(
        cookie=secrets.token_urlsafe(TOKEN_BYTES),
        person=account.person,
        csrf=secrets.token_urlsafe(TOKEN_BYTES),
    )
    web = gate.config.web
    event = AuditEvent(recorded=now, action="person.sign-in", agent=account.person.agent)
    async with gate.database.change(event) as transaction:
        await store.open_session(
            transaction,
            name,
            session_hash=_hash(signed_in.cookie),
            csrf=signed_in.csrf,
            now=now,
            expires_at=now + timedelta(seconds=web.session_lifetime_s),
            idle_since=now - timedelta(seconds=web.session_idle_s),
        )
    return signed_in


async def person_of(gate: Gate, cookie: str) -> SignedIn:
    """Whose session it is. Raises Unauthenticated once it has expired or was idle for too long."""
    store = PersonStore(gate.database)
    now = gate.clock()
    session = await store.session(
        _hash(cookie), now=now, idle_since=now - timedelta(seconds=gate.config.web.session_idle_s)
    )
    if session is None:
        raise Unauthenticated(SAY_SIGN_IN)
    if (now - session.seen_at).total_seconds() > TOUCH_AFTER_S:
        await store.touch_session(_hash(cookie), now=now)
    return SignedIn(cookie=cookie, person=session.person, csrf=session.csrf)


async def sign_out(gate: Gate, cookie: str) -> None:
    """Ends the session, if there is one."""
    try:
        signed_in = await person_of(gate, cookie)
    except Unauthenticated:
        return
    event = AuditEvent(
        recorded=gate.clock(), action="person.sign-out", agent=signed_in.person.agent
    )
    async with gate.database.change(event) as transaction:
        await PersonStore(gate.database).delete_session(transaction, _hash(cookie))


async def add_person(
    gate: Gate,
    name: str,
    password: str,
    roles: Sequence[str],
    sites: Sequence[str],
    *,
    by: Process | Person | None = None,
) -> Person:
    """Adds a person, or sets their password, roles and sites anew. Raises Invalid."""
    if not NAME.fullmatch(name):
        raise Invalid("a name is 1 to 64 of a-z 0-9 . - _ and begins with a letter or digit")
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise Invalid(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    if not roles or not sites:
        raise Invalid("a person needs at least one role and one site")
    person = Person(id=name, roles=tuple(dict.fromkeys(roles)), sites=tuple(dict.fromkeys(sites)))
    password_hash = await asyncio.to_thread(HASHER.hash, password)
    who = by or Process(id="cli")
    event = AuditEvent(
        recorded=gate.clock(),
        action="person.add",
        agent=who.agent,
        entities=(f"Person/{name}",),
        details=(("roles", " ".join(person.roles)), ("sites", " ".join(person.sites))),
    )
    async with gate.database.change(event) as transaction:
        await PersonStore(gate.database).put(transaction, person, password_hash=password_hash)
    return person


async def _refuse(gate: Gate, name: str | None, *, count: bool) -> None:
    """Notes the failure. A name that is not known is left out: it may be a mistyped password."""
    now = gate.clock()
    event = AuditEvent(
        recorded=now,
        action="person.sign-in",
        agent=f"person:{name}" if name else "person:(unknown)",
        outcome=Outcome.DENIED,
        reason="wrong" if count or name is None else "locked",
    )
    if name is None or not count:
        await gate.audit.record(event)
        return
    web = gate.config.web
    async with gate.database.change(event) as transaction:
        await PersonStore(gate.database).count_failure(
            transaction,
            name,
            now=now,
            failures_max=web.sign_in_failures_max,
            locked_until=now + timedelta(seconds=web.sign_in_lock_s),
        )


async def _verify(password_hash: str | None, password: str) -> bool:
    return await asyncio.to_thread(_verify_now, password_hash, password[: PASSWORD_MAX + 1])


def _verify_now(password_hash: str | None, password: str) -> bool:
    """Takes as long for a name that is not known."""
    with VERIFYING:
        unknown = _unknown_hash()
        try:
            HASHER.verify(password_hash or unknown, password)
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


@cache
def _unknown_hash() -> str:
    return HASHER.hash(secrets.token_urlsafe(TOKEN_BYTES))


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
