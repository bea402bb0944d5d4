"""A gate for tests: a real store, real charters and keys, and a system of record in memory."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from chartgate.clock import Clock
from chartgate.config import ClientConfig, Config, WebConfig
from chartgate.errors import ChartgateError, NotFound
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.gate import Gate, Running
from chartgate.model.charter import Charter
from chartgate.model.ports import Criteria
from chartgate.model.resource import Copy, NotModified, Resource, SearchPage
from chartgate.policy.charters import compile_book, parse_charter
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database

MODEL = b"model: test-model\nversion: '1'\n"
CHARTER = b"""\
charter: clinic-booking
revision: 1
purpose_of_use: TREAT
sites: {north-clinic: north-ehr}
clients: [slot-picker]
model: models/test.yaml
reads:
  Slot: {search: [schedule, start, status], elements: [schedule, status, start, end]}
  Patient: {elements: [name, birthDate], fresh: 5m}
  Appointment: {search: [date], elements: [status, start, end, participant], when_unreachable: stale}
rollout: [{stage: suggest}]
"""
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# Signing keys of sample AI clients: new ones each run, which nobody trusts but the test.
ALGORITHM = "ES384"


class MemorySource:
    """A Source that counts how it was asked; `fault` is raised instead of any answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._resources: dict[str, Resource] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.fault: ChartgateError | None = None

    def put(self, resource: Resource) -> None:
        """Stores a resource under the next version."""
        reference = f"{resource['resourceType']}/{resource['id']}"
        before = self._resources.get(reference)
        version = str(int(before["meta"]["versionId"]) + 1) if before else "1"
        self._resources[reference] = {**resource, "meta": {"versionId": version}}

    def remove(self, reference: str) -> None:
        """Takes it away, as if it were deleted."""
        del self._resources[reference]

    async def read(self, reference: str, *, if_none_match: str | None = None) -> Copy | NotModified:
        """As the port says."""
        self.asked.append((reference, if_none_match))
        if self.fault:
            raise self.fault
        if reference not in self._resources:
            raise NotFound(f"no {reference} here")
        copy = self._copy(reference)
        if copy.version == if_none_match:
            return NotModified(reference=reference, version=copy.version, as_of=copy.as_of)
        return copy

    async def search(self, resource_type: str, criteria: Criteria, *, count_max: int) -> SearchPage:
        """All of the type; criteria are matched on top-level elements of the same name, and on
        what they refer to."""
        self.asked.append((f"{resource_type}?{criteria}", None))
        if self.fault:
            raise self.fault
        found = [
            self._copy(reference)
            for reference, resource in sorted(self._resources.items())
            if reference.startswith(f"{resource_type}/")
            and all(resource.get(name) in (value, {"reference": value}) for name, value in criteria)
        ]
        complete = len(found) <= count_max
        return SearchPage(copies=tuple(found[:count_max]), complete=complete, as_of=self._clock())

    async def history(self, reference: str, *, count_max: int) -> tuple[Copy, ...]:
        """The current version only."""
        return (self._copy(reference),)

    def _copy(self, reference: str) -> Copy:
        resource = self._resources[reference]
        body = canonical_bytes(resource)
        return Copy(
            reference=reference,
            version=resource["meta"]["versionId"],
            digest=digest(body),
            body=body,
            as_of=self._clock(),
        )


@dataclass(frozen=True, kw_only=True)
class TestGate:
    """A gate and what stands behind it."""

    __test__ = False  # pytest takes it for a test by its name

    gate: Gate
    source: MemorySource
    keys: dict[str, ECKey | RSAKey] = field(default_factory=dict)  # of clients

    def assertion(
        self, client: str = "slot-picker", *, algorithm: str = ALGORITHM, **claims: Any
    ) -> str:
        """A signed client assertion; `claims` replace the right ones, None leaves one out."""
        now = self.gate.clock().timestamp()
        right = {
            "iss": client,
            "sub": client,
            "aud": self.gate.config.web.token_url,
            "exp": int(now) + 240,
            "jti": str(uuid4()),
        }
        chosen = {k: v for k, v in {**right, **claims}.items() if v is not None}
        header = {"alg": algorithm, "kid": self.keys[client].thumbprint()}
        return jwt.encode(header, chosen, self.keys[client], algorithms=[algorithm])

    def token_form(self, assertion: str | None = None, *, scope: str = "") -> dict[str, str]:
        """What a client posts to the token endpoint."""
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion or self.assertion(),
            "scope": scope,
        }


def parse_test_charter(body: bytes = CHARTER) -> Charter:
    """A charter out of its YAML, with a model file that says nothing."""
    return parse_charter(body, file="test.yaml", read_model=lambda _: MODEL)


@asynccontextmanager
async def open_test_gate(
    database: Database,
    *,
    folder: Path,
    clock: Clock,
    charters: Sequence[bytes] = (CHARTER,),
    clients: Sequence[str] = ("slot-picker",),
    web: WebConfig | None = None,
    source: Callable[[Clock], MemorySource] = MemorySource,
) -> AsyncIterator[TestGate]:
    """A gate whose one connection, `north-ehr`, is a MemorySource. Keys go into `folder`."""
    keys: dict[str, ECKey | RSAKey] = {n: ECKey.generate_key("P-384") for n in clients}
    for name, key in keys.items():
        jwks = {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()}]}
        (folder / f"{name}.jwks.json").write_bytes(orjson.dumps(jwks))
    config = Config(
        folder=folder,
        web=web or WebConfig(),
        clients={n: ClientConfig(name=n, jwks_file=f"{n}.jwks.json") for n in clients},
    )
    memory = source(clock)
    audit = AuditWriter(database)
    await audit.start()
    try:
        gate = Gate(
            config=config,
            clock=clock,
            database=database,
            audit=audit,
            running=Running(charters=compile_book([parse_test_charter(c) for c in charters])),
            sources={"north-ehr": memory},
            sinks={},
        )
        yield TestGate(gate=gate, source=memory, keys=keys)
    finally:
        await audit.close()
