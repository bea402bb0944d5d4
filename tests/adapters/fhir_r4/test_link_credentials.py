"""Credentials of one connection never reach another system, whatever that system answers: attacks
E-04, T-07 and T-08."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from joserfc.jwk import ECKey

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.adapters.loader import load_connections
from chartgate.config import Config, ConnectionConfig, EgressConfig, VendorConfig
from chartgate.errors import ChartgateError, SourceUnreachable
from chartgate.testing.clock import FakeClock

Opener = Callable[..., Awaitable[FhirR4]]
PATIENT = {"resourceType": "Patient", "id": "1", "meta": {"versionId": "1"}}


@dataclass
class Ehr:
    """A system that gives a token of its own, and keeps all that it was ever sent."""

    name: str
    url: str = ""
    token: str = ""
    elsewhere: str = ""  # where it sends everybody on to
    received: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.received.append(f"{request.method} {request.path_qs} {dict(request.headers)} {body}")
        if request.path.endswith("/token"):
            return web.json_response({"access_token": self.token, "expires_in": 300})
        if self.elsewhere:
            return web.Response(status=307, headers={"location": self.elsewhere})
        return web.json_response(PATIENT, headers={"etag": 'W/"1"'})


@asynccontextmanager
async def serving(ehr: Ehr) -> AsyncIterator[Ehr]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", ehr.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ehr.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    ehr.token = f"canary-token-of-{ehr.name}"
    try:
        yield ehr
    finally:
        await runner.cleanup()


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Ehr, Ehr]]:
    async with serving(Ehr("north")) as north, serving(Ehr("south")) as south:
        yield north, south


def options(folder: Path, ehr: Ehr, **more: Any) -> dict[str, Any]:
    key = folder / f"{ehr.name}.pem"
    if not key.exists():
        key.write_bytes(ECKey.generate_key("P-384").as_pem(private=True))
    return {
        "url": f"{ehr.url}/fhir",
        "token_url": f"{ehr.url}/token",
        "client_id": f"canary-client-of-{ehr.name}",
        "key_file": key.name,
        "key_alg": "ES384",
        "retries": 0,
        **more,
    }


async def test_each_system_sees_its_own_credentials_alone(
    tmp_path: Path, pair: tuple[Ehr, Ehr]
) -> None:
    config = Config(
        folder=tmp_path,
        connections={
            ehr.name: ConnectionConfig(
                name=ehr.name, adapter="fhir_r4", options=options(tmp_path, ehr)
            )
            for ehr in pair
        },
    )
    north, south = pair
    async with load_connections(config, clock=FakeClock(), verdicts={}) as connections:
        for _ in range(2):
            for ehr in pair:
                await connections.sources[ehr.name].read("Patient/1")
    for ehr, other in ((north, south), (south, north)):
        said = "\n".join(ehr.received)
        assert ehr.token in said
        assert f"canary-client-of-{other.name}" not in said
        assert other.token not in said


@pytest.mark.parametrize("path", ["/fhir/Patient/1", "/token", "/collect"])
async def test_system_that_sends_us_on_gives_nothing_away(
    open_ehr: Opener, tmp_path: Path, pair: tuple[Ehr, Ehr], path: str
) -> None:
    north, south = pair
    north.elsewhere = south.url + path
    ehr = await open_ehr(**options(tmp_path, north))
    with pytest.raises(ChartgateError) as error:
        await ehr.read("Patient/1")
    assert south.received == []
    assert north.token not in f"{error.value} {error.value.operator_detail}"


async def test_token_endpoint_elsewhere_must_be_named_by_us(
    open_ehr: Opener, tmp_path: Path, pair: tuple[Ehr, Ehr]
) -> None:
    """A system may say where its token endpoint is, but not whom our credential goes to."""
    north, south = pair

    async def discovery(request: web.Request) -> web.Response:
        return web.json_response({"token_endpoint": f"{south.url}/token"})

    north.answer = discovery  # type: ignore[method-assign]
    async with serving(north):
        ehr = await open_ehr(**options(tmp_path, north) | {"token_url": ""})
        with pytest.raises(SourceUnreachable, match="set token_url in"):
            await ehr.read("Patient/1")
    assert south.received == []


async def test_connection_whose_contract_ends_is_closed_at_once(
    tmp_path: Path, pair: tuple[Ehr, Ehr]
) -> None:
    north, _ = pair
    clock = FakeClock()
    config = Config(
        folder=tmp_path,
        production=True,
        egress=EgressConfig(private=("127.0.0.0/8",)),
        vendors={"acme": VendorConfig(name="acme", contract="BAA-1", until=clock().date())},
        connections={
            "north": ConnectionConfig(
                name="north", adapter="fhir_r4", vendor="acme", options=options(tmp_path, north)
            )
        },
    )
    async with load_connections(config, clock=clock, verdicts={}) as connections:
        await connections.sources["north"].read("Patient/1")
        asked = len(north.received)
        clock.advance(86_400)
        with pytest.raises(SourceUnreachable):
            await connections.sources["north"].read("Patient/1")
    assert len(north.received) == asked
