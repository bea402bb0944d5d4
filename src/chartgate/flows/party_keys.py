"""Public keys of clients and services: out of their file each time, or fetched from the address
that the config names, kept for a while.

Only that address is ever asked. What an assertion's header says of keys (`jku`, `jwk`, `x5u`) is
not looked at, so nobody can make us fetch anything or bring a key along.
Source: https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import orjson
import structlog
from joserfc.jwk import ECKey, RSAKey

from chartgate.adapters.egress import open_session, read_capped
from chartgate.config import ClientConfig, ServiceConfig
from chartgate.errors import ConfigError, SourceUnreachable
from chartgate.flows.id_tokens import PublishedKey, parse_keys
from chartgate.formats.depth import deeper_than
from chartgate.gate import Gate

LOG = structlog.get_logger()
KEPT_FOR = timedelta(minutes=10)  # a key that is taken back is out after that
REFETCH_AFTER = timedelta(seconds=30)  # at most so often, whatever key ids are asked for
TIMEOUT_S = 3.0
ANSWER_BYTES_MAX = 64 * 1024
DEPTH_MAX = 8
CURVE = "P-384"  # of ES384

Party = ClientConfig | ServiceConfig
Key = RSAKey | ECKey


@dataclass
class Fetched:
    """What one address published, when it was last asked with success, and when it was asked."""

    keys: Sequence[PublishedKey] = ()
    fetched_at: datetime | None = None
    asked_at: datetime | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


async def key_of(gate: Gate, party: Party, *, kid: str, algorithm: str) -> Key | None:
    """The party's key of that id for that algorithm, if it has one.

    Raises SourceUnreachable where no keys of theirs are known, ConfigError for a file of ours.
    """
    keys = await _published(gate, party, kid) if party.jwks_url else _filed(gate, party)
    for one in keys:
        fits = isinstance(one.key, RSAKey if algorithm == "RS384" else ECKey)
        if one.kid == kid and fits and one.algorithm in (None, algorithm):
            return one.key
    return None


def _filed(gate: Gate, party: Party) -> Sequence[PublishedKey]:
    """Read each time: a key that is removed is gone at once."""
    path = gate.config.path(party.jwks_file)
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        document, detail = None, type(error).__name__
    else:
        detail = "no JWK set"
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ConfigError(
            "the keys of this client cannot be read; tell the operator",
            operator_detail=f"{path}: {detail}",
        )
    return parse_keys(document, curve=CURVE)


async def _published(gate: Gate, party: Party, kid: str) -> Sequence[PublishedKey]:
    kind = "clients" if isinstance(party, ClientConfig) else "services"
    known: Fetched = gate.party_keys.setdefault(f"{kind}.{party.name}", Fetched())
    if _must_ask(known, kid, gate.clock()):
        async with known.lock:
            if _must_ask(known, kid, gate.clock()):
                await _ask(gate, party, known)
    if known.fetched_at is None or gate.clock() - known.fetched_at >= KEPT_FOR:
        raise SourceUnreachable(
            f"the keys of {party.name} cannot be had now; try again shortly",
            operator_detail=f"{party.jwks_url} gave no JWK set",
        )
    return known.keys


def _must_ask(known: Fetched, kid: str, now: datetime) -> bool:
    if known.asked_at is not None and now - known.asked_at < REFETCH_AFTER:
        return False
    fresh = known.fetched_at is not None and now - known.fetched_at < KEPT_FOR
    return not fresh or all(key.kid != kid for key in known.keys)


async def _ask(gate: Gate, party: Party, known: Fetched) -> None:
    """Takes over what the address publishes now. What it does not say keeps the old keys, until
    they are too old."""
    known.asked_at = gate.clock()
    keys, detail = await _get(gate, party.jwks_url)
    if keys:
        known.keys, known.fetched_at = keys, known.asked_at
    else:
        LOG.warning("keys.not_fetched", party=party.name, detail=detail)


async def _get(gate: Gate, url: str) -> tuple[Sequence[PublishedKey], str]:
    """The keys that can be used; or none, and why."""
    try:
        async with (
            open_session(gate.config, allow=[url], timeout_s=TIMEOUT_S) as http,
            http.get(url, headers={"Accept": "application/json"}, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                return (), f"HTTP {answer.status}"
            body = await read_capped(answer, ANSWER_BYTES_MAX)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return (), type(error).__name__
    return parse_keys(_parsed(body), curve=CURVE), "no usable key in the JWK set"


def _parsed(body: bytes) -> Any:
    try:
        return None if deeper_than(body, DEPTH_MAX) else orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
