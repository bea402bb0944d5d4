"""Asking about tokens, and taking them away: RFC 7662 introspection, RFC 7009 revocation, and what
an operator does at the command line. What is taken away is out at once, in every process.
"""

from collections.abc import Sequence
from typing import Any

from chartgate.config import Config
from chartgate.errors import Denied, Invalid, Unauthenticated
from chartgate.flows.tokens import (
    CHARTER_SCOPE,
    SERVICE_TOKEN,
    TOKEN,
    ContractEnded,
    check_holder,
    hash_token,
    token_of,
)
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Client, Principal, Service
from chartgate.store.tokens import ClientToken, Listed, TokenStore

INACTIVE: dict[str, Any] = {"active": False}  # whatever the cause
LIST_MAX = 1_000
ID_LENGTH = 12  # hex digits of a token's hash that the command line shows


async def introspect(gate: Gate, asker: Client | Service, token: str) -> dict[str, Any]:
    """What a token is good for, told to a service that may ask, or to the client whose it is.
    One that is unknown, has ended, was revoked or is another's looks the same."""
    if isinstance(asker, Service) and "introspect" not in asker.may:
        raise Denied(f'this needs may = ["introspect"] under [services.{asker.id}]')
    found = await _client_token(gate, token)
    if found and isinstance(asker, Client) and found.client.id != asker.id:
        found = None
    await _record(gate, asker, "token.introspect", found, reason="inactive")
    if found is None:
        return INACTIVE
    client = found.client
    return {
        "active": True,
        "token_type": "bearer",
        "client_id": client.id,
        "sub": client.id,
        "iss": gate.config.web.url,
        "aud": found.ticket.audience,
        "scope": " ".join((*client.scopes, CHARTER_SCOPE + client.charter)),
        "iat": int(found.ticket.issued_at.timestamp()),
        "exp": int(found.ticket.expires_at.timestamp()),
    }


async def revoke(gate: Gate, asker: Client | Service, token: str) -> None:
    """Takes a token away, at once: one's own, or with the power to revoke anybody's. Says nothing
    about whether there was one: what is unknown, or another's, is passed over (RFC 7009, 2.2)."""
    hashed = hash_token(token)
    own_client = asker.id if isinstance(asker, Client) else None
    any_ones = isinstance(asker, Service) and "revoke" in asker.may
    own_service = asker.id if isinstance(asker, Service) and not any_ones else None
    event = AuditEvent(recorded=gate.clock(), action="token.revoke", agent=asker.agent)
    gone: Sequence[bytes] = ()
    if TOKEN.fullmatch(token) or SERVICE_TOKEN.fullmatch(token):
        gone = await TokenStore(gate.database).revoke(
            event, token_hash=hashed, client=own_client, service=own_service
        )
    if not gone:
        await _record(gate, asker, "token.revoke", None, reason="inactive")
    _forget(gate, gone)


async def revoke_all(
    gate: Gate, by: Principal, *, client: str = "", service: str = "", id_: str = ""
) -> int:
    """Takes away the tokens of a client or a service, or the one of that id; how many there were.
    Raises Invalid unless exactly one of the three is said."""
    if [bool(client), bool(service), bool(id_)].count(True) != 1:
        raise Invalid("say whose tokens: one of a client, a service and an id")
    store = TokenStore(gate.database)
    hashed = await _hash_of(gate, id_) if id_ else None
    event = AuditEvent(
        recorded=gate.clock(),
        action="token.revoke",
        agent=by.agent,
        details=(("of", client or service or id_),),
    )
    gone = await store.revoke(
        event, token_hash=hashed, client=client or None, service=service or None
    )
    _forget(gate, gone)
    return len(gone)


async def tokens_now(gate: Gate) -> Sequence[Listed]:
    """The tokens that hold now, the oldest first; never what would open anything."""
    return await TokenStore(gate.database).list(now=gate.clock(), count_max=LIST_MAX)


def id_of(listed: Listed) -> str:
    """What the command line calls a token."""
    return listed.ticket.token_hash.hex()[:ID_LENGTH]


def unknown_holder(config: Config, *, client: str, service: str) -> str:
    """A sentence where nobody of that name is registered, which may be a typo; else empty."""
    if client and client not in config.clients:
        return f"no client {client} is registered"
    if service and service not in config.services:
        return f"no service {service} is registered"
    return ""


async def _hash_of(gate: Gate, id_: str) -> bytes:
    found = [one for one in await tokens_now(gate) if id_of(one) == id_.lower()]
    if len(found) != 1:
        raise Invalid(f"no token has the id {id_}; `chartgate token list` shows those that hold")
    return found[0].ticket.token_hash


async def _client_token(gate: Gate, token: str) -> ClientToken | None:
    """An AI client's token that would open something now."""
    try:
        found = await token_of(gate, token)
        check_holder(gate, found.client)
    except (Unauthenticated, ContractEnded):
        return None
    return found


def _forget(gate: Gate, hashes: Sequence[bytes]) -> None:
    for hashed in hashes:
        gate.caches.tokens.drop(hashed)


async def _record(
    gate: Gate,
    asker: Client | Service,
    action: str,
    found: ClientToken | None,
    *,
    reason: str,
) -> None:
    await gate.audit.record(
        AuditEvent(
            recorded=gate.clock(),
            action=action,
            agent=asker.agent,
            outcome=Outcome.SUCCESS if found else Outcome.DENIED,
            charter=found.client.charter if found else None,
            reason=None if found else reason,
            details=(("of", found.client.id),) if found else (),
        )
    )
