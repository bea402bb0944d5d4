"""One sample hospital with a canary's chart, and one gateway before it, for each file of attacks."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chartgate.config import WebConfig
from chartgate.store.database import Database, open_database
from chartgate.store.embedded import EmbeddedServer
from chartgate.store.vault_keys import new_masters
from chartgate.testing.clock import FakeClock
from tests.attacks.chart import plant
from tests.conftest import TENANT, at_database
from tests.web.front_desk import FrontDesk, open_front_desk

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
async def attacked_url(
    postgres: EmbeddedServer, postgres_admin: Any, template: str
) -> AsyncIterator[str]:
    """A migrated database for one file of attacks."""
    name = f"attacks_{next(NUMBERS)}"
    await postgres_admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER chartgate")
    yield at_database(postgres.url, name)
    await postgres_admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
async def attacked(attacked_url: str) -> AsyncIterator[Database]:
    """It, opened."""
    opened = await open_database(attacked_url, tenant=TENANT, masters=new_masters())
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
async def desk(
    attacked: Database, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FrontDesk]:
    """Hospital, gateway, and a chart full of canaries."""
    folder = tmp_path_factory.mktemp("attacks")
    web = WebConfig(body_timeout_s=0.5, body_bytes_max=500_000)
    async with open_front_desk(attacked, FakeClock(), folder, web=web) as opened:
        plant(opened.clinic.hospital)
        yield opened


@pytest.fixture(scope="module")
async def bearer(desk: FrontDesk) -> dict[str, str]:
    """Headers of slot-picker, whose charter reads Patient, Slot, Schedule and Appointment."""
    return await desk.bearer()


@pytest.fixture(scope="module")
async def scribe(desk: FrontDesk) -> dict[str, str]:
    """Headers of scribe, whose charter reads Encounter, Patient, Condition, DocumentReference."""
    return await desk.bearer("scribe")
