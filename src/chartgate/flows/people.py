"""Staff sign in: argon2id passwords, a lock after failures, opaque sessions, a form token.

A wrong name and a wrong password take equally long and get one sentence. The cookie is random and
kept as a hash; nothing about the person is in it. Where a provider vouches for people (oidc.py,
launches.py) passwords are off; sealed accounts work whatever becomes of the provider.
"""

import asyncio
import hashlib
import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chartgate.errors import Invalid, Unauthenticated
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Person, Process
from chartgate.store.database import Connection
from chartgate.store.governance import bump_epoch
from chartgate.store.people import Account, NewSession, PersonStore

# The defaults of argon2-cffi are RFC 9106's second recommendation.
# Source: https://www.rfc-editor.org/rfc/rfc9106#section-4
HASHER = PasswordHasher()
VERIFYING = threading.Semaphore(2)  # each takes 64 MiB: a flood of sign-ins must queue

NAME = re.compile(r"[a-z0-9][a-z0-9.\-_]{0,63}")
PASSWORD_MIN = 8  # characters; NIST SP 800-63B
PASSWORD_MAX = 1024
TOKEN_BYTES = 32
TOUCH_AFTER_S = 30.0  # a session notes its use at most this often
SEALED_SESSION_S = 3600.0  # as long as one break-glass at most
BREAK_GLASS = "break-glass"  # the role of a sealed account, and of whoever else has it
SAY_WRONG = "name or password is wrong, or the account is locked for a while"
SAY_NO_PASSWORDS = (
    "that is no sealed account, or its secret is wrong or was used; everybody else signs in with "
    "the account of their organisation"
)
SAY_SIGN_IN = "sign in first"


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """A session. `cookie` is the secret; `csrf` goes into each form."""

    cookie: str = field(repr=False)
    person: Person
    csrf: str = field(repr=False)


def passwords_are_on(gate: Gate) -> bool:
    """Whether people of our own may sign in. Sealed accounts always may."""
    oidc = gate.config.oidc
    return not oidc.issuer or oidc.keep_passwords


async def sign_in(gate: Gate, name: str, password: str) -> SignedIn:
    """Opens a session. Raises Unauthenticated with one sentence, whatever was wrong."""
    store = PersonStore(gate.database)
    account = await store.account(name) if NAME.fullmatch(name) else None
    sealed = account is not None and account.person.sealed
    shown = plain_secret(password) if sealed else password
    right = await _verify(account.password_hash if account else None, shown)
    why_not = _why_not(gate, account, right=right)
    if account is None or why_not:
        await _refuse(gate, name if account else None, why_not, count=not sealed)
        raise Unauthenticated(SAY_WRONG if passwords_are_on(gate) else SAY_NO_PASSWORDS)
    return await (_break_seal if sealed else _open_own)(gate, account)


async def person_of(gate: Gate, cookie: str) -> SignedIn:
    """Whose session it is. Raises Unauthenticated once it has expired or was idle for too long."""
    store = PersonStore(gate.database)
    now = gate.clock()
    session = await store.session(
        hash_cookie(cookie), now=now, idle_since=now - timedelta(seconds=_idle_s(gate))
    )
    if session is None:
        raise Unauthenticated(SAY_SIGN_IN)
    if (now - session.seen_at).total_seconds() > TOUCH_AFTER_S:
        await store.touch_session(hash_cookie(cookie), now=now)
    return SignedIn(cookie=cookie, person=session.person, csrf=session.csrf)


async def sign_out(gate: Gate, cookie: str, *, everywhere: bool = False) -> None:
    """Ends the session, if there is one; or all of its person's, on whatever machine."""
    try:
        signed_in = await person_of(gate, cookie)
    except Unauthenticated:
        return
    person = signed_in.person
    event = AuditEvent(
        recorded=gate.clock(),
        action="person.sign-out",
        agent=person.agent,
        details=(("sessions", "all"),) if everywhere else (),
    )
    store = PersonStore(gate.database)
    async with gate.database.change(event) as transaction:
        if everywhere:
            await store.end_sessions(transaction, person.id)
        else:
            await store.delete_session(transaction, hash_cookie(cookie))
        await bump_epoch(transaction, gate.database.tenant)


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
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise Invalid(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    if not roles or not sites:
        raise Invalid("a person needs at least one role and one site")
    person = Person(id=name, roles=tuple(dict.fromkeys(roles)), sites=tuple(dict.fromkeys(sites)))
    await put_account(gate, person, password, action="person.add", by=by or Process(id="cli"))
    return person


async def put_account(
    gate: Gate, person: Person, secret: str, *, action: str, by: Process | Person
) -> None:
    """Stores an account of our own with its secret, in place of an earlier one of that name,
    whose sessions end. Raises Invalid."""
    if not NAME.fullmatch(person.id):
        raise Invalid("a name is 1 to 64 of a-z 0-9 . - _ and begins with a letter or digit")
    secret_hash = await asyncio.to_thread(HASHER.hash, secret)
    event = AuditEvent(
        recorded=gate.clock(),
        action=action,
        agent=by.agent,
        entities=(f"Person/{person.id}",),
        details=(("roles", " ".join(person.roles)), ("sites", " ".join(person.sites))),
    )
    async with gate.database.change(event) as transaction:
        done = await PersonStore(gate.database).put(transaction, person, password_hash=secret_hash)
        if not done:
            raise Invalid(
                f"{person.id} signs in by the provider under [oidc] or [launch]; what they may do "
                "is said there, and another account needs another name"
            )
        await bump_epoch(transaction, gate.database.tenant)


async def open_session(
    gate: Gate, transaction: Connection, person: Person, *, lifetime_s: float | None = None
) -> SignedIn:
    """A new session for somebody whom the caller has proven, as part of the transaction."""
    now = gate.clock()
    signed_in = SignedIn(
        cookie=secrets.token_urlsafe(TOKEN_BYTES),
        person=person,
        csrf=secrets.token_urlsafe(TOKEN_BYTES),
    )
    session = NewSession(
        person=person,
        session_hash=hash_cookie(signed_in.cookie),
        csrf=signed_in.csrf,
        now=now,
        expires_at=now + timedelta(seconds=lifetime_s or gate.config.web.session_lifetime_s),
        idle_since=now - timedelta(seconds=_idle_s(gate)),
    )
    await PersonStore(gate.database).open_session(transaction, session)
    return signed_in


def hash_cookie(cookie: str) -> bytes:
    """What the store keeps of a cookie: 256 random bits need no slow hash."""
    return hashlib.sha256(cookie.encode("utf-8", "surrogateescape")).digest()


def plain_secret(shown: str) -> str:
    """A secret of a seal without what makes it easy to type."""
    return re.sub(r"[\s-]", "", shown).upper()


def _why_not(gate: Gate, account: Account | None, *, right: bool) -> str:
    """The audit's code for why this account signs nobody in now; empty: it does."""
    if account is None or not right or account.removed_at:
        return "wrong"
    if account.person.sealed:
        return ""
    if account.locked_until and account.locked_until > gate.clock():
        return "locked"
    return "" if passwords_are_on(gate) else "passwords-off"


async def _open_own(gate: Gate, account: Account) -> SignedIn:
    event = AuditEvent(recorded=gate.clock(), action="person.sign-in", agent=account.person.agent)
    async with gate.database.change(event) as transaction:
        if not await PersonStore(gate.database).lock(transaction, account.person.id):
            raise Unauthenticated(SAY_WRONG)
        return await open_session(gate, transaction, account.person)


async def _break_seal(gate: Gate, account: Account) -> SignedIn:
    """The secret works once. What the session may do is break the glass, whatever roles are
    stored."""
    person = replace(account.person, roles=(BREAK_GLASS,), sealed=True)
    now = gate.clock()
    event = AuditEvent(
        recorded=now,
        action="person.unseal",
        agent=person.agent,
        entities=(f"Person/{person.id}",),
        details=(("alarm", "a sealed account was opened; seal it anew"),),
    )
    store = PersonStore(gate.database)
    async with gate.database.change(event) as transaction:
        assert account.password_hash is not None, "it was just verified"
        whole = await store.break_seal(
            transaction, person.id, secret_hash=account.password_hash, now=now
        )
        if not whole:
            raise Unauthenticated(SAY_WRONG if passwords_are_on(gate) else SAY_NO_PASSWORDS)
        signed_in = await open_session(
            gate,
            transaction,
            person,
            lifetime_s=min(SEALED_SESSION_S, gate.config.web.session_lifetime_s),
        )
    structlog.get_logger().critical("sealed account opened", person=person.id)
    return signed_in


async def _refuse(gate: Gate, name: str | None, reason: str, *, count: bool) -> None:
    """Notes the failure. A name that is not known is left out: it may be a mistyped password.
    A sealed account is not locked: its secret cannot be guessed, and it must open when needed."""
    now = gate.clock()
    event = AuditEvent(
        recorded=now,
        action="person.sign-in",
        agent=f"person:{name}" if name else "person:(unknown)",
        outcome=Outcome.DENIED,
        reason=reason or "wrong",
    )
    if name is None or not count or reason != "wrong":
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


def _idle_s(gate: Gate) -> float:
    return gate.config.web.session_idle_s


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
