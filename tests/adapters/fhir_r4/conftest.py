"""A sample hospital of each test's own, adapters on it, and servers that answer by script."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from chartgate.adapters.egress import address_rules
from chartgate.adapters.fhir_r4.adapter import FhirR4, open_adapter
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.clock import Clock, utc_now
from chartgate.config import Config, ConnectionConfig
from chartgate.demo.hospital.server import Hospital, running_hospital
from chartgate.model.verdict import Verdicts

TRUSTED: Verdicts = {line: (True, "test") for line in PROBED}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Opener = Callable[..., Awaitable[FhirR4]]
Server = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def hospital() -> AsyncIterator[Hospital]:
    """An empty sample hospital; no token is needed."""
    async with running_hospital() as running:
        yield running


@pytest.fixture
async def open_ehr(tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens an adapter on a FHIR base; every line holds unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def opened(
            url: str,
            *,
            verdicts: Verdicts = TRUSTED,
            clock: Clock = utc_now,
            **options: Any,
        ) -> FhirR4:
            connection = ConnectionConfig(
                name="north-ehr", adapter="fhir_r4", options={"url": url, **options}
            )
            context = open_adapter(
                connection,
                folder=tmp_path,
                clock=clock,
                verdicts=verdicts,
                egress=address_rules(Config(folder=tmp_path)),
            )
            return await stack.enter_async_context(context)

        yield opened


@pytest.fixture
async def ehr(hospital: Hospital, open_ehr: Opener) -> FhirR4:
    """An adapter on the sample hospital."""
    return await open_ehr(hospital.fhir_url, dialect="sample-hospital", retries=0)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server on a real socket that answers every request by `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/fhir"
    finally:
        await runner.cleanup()


@pytest.fixture
async def serve() -> AsyncIterator[Server]:
    """Starts scripted servers; gives each one's FHIR base."""
    async with AsyncExitStack() as stack:

        async def started(handler: Handler) -> str:
            context: AbstractAsyncContextManager[str] = serving(handler)
            return await stack.enter_async_context(context)

        yield started
