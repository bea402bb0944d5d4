"""The feed to an audit record repository: in order, nothing lost, whatever the repository does."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from chartgate.config import AtnaConfig
from chartgate.errors import ConfigError
from chartgate.flows import atna
from chartgate.formats.r4_structure import is_well_formed
from chartgate.store.atna import AtnaStore
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.ledgers import Ledger, open_ledger


@dataclass
class Repository:
    """Takes batches, in whatever mood the test puts it."""

    bundles: list[dict[str, Any]] = field(default_factory=list)
    leaves: list[str] = field(default_factory=list)  # ids of what it has taken
    status: int = 200
    refuse_from: int | None = None  # position in the batch
    answer: Any = None
    headers: list[dict[str, str]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        bundle = await request.json()
        self.bundles.append(bundle)
        self.headers.append(dict(request.headers))
        if self.status != 200:
            return web.json_response({}, status=self.status)
        if self.answer is not None:
            return web.Response(body=self.answer)
        made = []
        for number, entry in enumerate(bundle["entry"]):
            taken = self.refuse_from is None or number < self.refuse_from
            if taken:
                self.leaves.append(entry["resource"]["id"])
            made.append({"response": {"status": "201 Created" if taken else "422"}})
        return web.json_response({"resourceType": "Bundle", "entry": made})


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
async def ledger(
    database: Database, clock: FakeClock, tmp_path: Path, repository: Repository
) -> AsyncIterator[Ledger]:
    app = web.Application()
    app.router.add_post("/fhir", repository.take)
    async with TestServer(app) as server, open_ledger(database, clock, tmp_path) as opened:
        feed = AtnaConfig(name="arr", url=str(server.make_url("/fhir")), batch_max=4)
        config = replace(opened.gate.config, atna={"arr": feed})
        opened.gate = replace(opened.gate, config=config)
        yield opened


async def sent(ledger: Ledger, *, tries: int = 20) -> int:
    """Sends until nothing is left, or nothing is taken any more."""
    total = 0
    async with atna.open_feeds(ledger.gate) as feeds:
        for _ in range(tries):
            count = await feeds.send_next()
            total += count
            if not count:
                break
    return total


async def lag(ledger: Ledger) -> int:
    [one] = await atna.standing(ledger.gate)
    return one.lag


async def hashes(ledger: Ledger) -> list[str]:
    rows = await ledger.database.fetch(
        "SELECT hash FROM ledger_leaf WHERE tenant = $1 ORDER BY seq"
    )
    return [row["hash"].hex() for row in rows]


async def test_every_event_is_sent_once_in_the_order_of_the_ledger(
    ledger: Ledger, repository: Repository
) -> None:
    await ledger.grow(6, 5)
    assert await sent(ledger) == 11
    assert repository.leaves == await hashes(ledger)
    assert [len(bundle["entry"]) for bundle in repository.bundles] == [4, 4, 3]
    for bundle in repository.bundles:
        assert bundle["type"] == "batch"
        assert is_well_formed(bundle)
    assert repository.headers[0]["Content-Type"] == "application/fhir+json"
    assert await sent(ledger) == 0
    await ledger.grow(1)
    assert await sent(ledger) == 1
    assert repository.leaves == await hashes(ledger)


@pytest.mark.parametrize("status", [302, 400, 401, 500, 503])
async def test_a_repository_that_refuses_loses_nothing_and_is_asked_ever_more_seldom(
    ledger: Ledger, repository: Repository, status: int
) -> None:
    await ledger.grow(3)
    repository.status = status
    assert await sent(ledger) == 0
    assert await lag(ledger) == 3
    waited = []
    for _ in range(4):
        asked = len(repository.bundles)
        while len(repository.bundles) == asked:
            ledger.clock.advance(0.5)
            await sent(ledger, tries=1)
            waited.append(ledger.clock())
    [standing] = await atna.standing(ledger.gate)
    assert standing.failures == 5
    assert standing.last_error == f"it answered {status}"
    assert len(waited) >= 2 * (1 + 2 + 4 + 8)  # half seconds, doubling
    repository.status = 200
    ledger.clock.advance(400)
    assert await sent(ledger) == 3
    assert repository.leaves == await hashes(ledger)


async def test_what_stands_before_a_refused_event_is_not_sent_again(
    ledger: Ledger, repository: Repository
) -> None:
    await ledger.grow(4)
    repository.refuse_from = 2
    assert await sent(ledger, tries=1) == 2
    repository.refuse_from = None
    ledger.clock.advance(10)
    assert await sent(ledger) == 2
    assert repository.leaves == await hashes(ledger)


@pytest.mark.parametrize("answer", [b"", b"[]", b"nonsense", b'{"entry": 7}', b'{"entry": []}'])
async def test_an_answer_that_is_none_counts_as_not_taken(
    ledger: Ledger, repository: Repository, answer: bytes
) -> None:
    await ledger.grow(2)
    repository.answer = answer
    assert await sent(ledger) == 0
    assert await lag(ledger) == 2


async def test_a_repository_that_is_away_delays_nothing_and_gets_all_of_it_later(
    ledger: Ledger, repository: Repository
) -> None:
    await ledger.grow(2)
    away = replace(ledger.gate.config.atna["arr"], url="http://127.0.0.1:9/fhir", timeout_s=1.0)
    there = ledger.gate
    ledger.gate = replace(there, config=replace(there.config, atna={"arr": away}))
    assert await sent(ledger) == 0
    await ledger.grow(2)  # the ledger goes on
    [standing] = await atna.standing(ledger.gate)
    assert (standing.lag, standing.failures) == (4, 1)
    assert "no answer" in (standing.last_error or "")
    ledger.gate = there
    ledger.clock.advance(10)
    assert await sent(ledger) == 4
    assert repository.leaves == await hashes(ledger)


async def test_two_workers_never_send_at_once(ledger: Ledger, repository: Repository) -> None:
    await ledger.grow(3)
    store = AtnaStore(ledger.database)
    now = ledger.clock()
    until = now.replace(year=now.year + 1)
    assert await store.claim("arr", at=now, lease_until=until, first=0) is not None
    assert await sent(ledger) == 0
    ledger.clock.advance(366 * 86_400)  # the other one died
    assert await sent(ledger) == 3


async def test_events_before_the_date_of_the_config_are_passed_over(
    ledger: Ledger, repository: Repository
) -> None:
    await ledger.grow(2)
    ledger.clock.advance(3 * 86_400)
    await ledger.grow(1)
    since = ledger.clock().date().isoformat()
    late = replace(ledger.gate.config.atna["arr"], since=since)
    ledger.gate = replace(ledger.gate, config=replace(ledger.gate.config, atna={"arr": late}))
    await sent(ledger)
    assert repository.leaves == (await hashes(ledger))[-1:]
    assert await lag(ledger) == 0


@pytest.mark.parametrize(
    ("changes", "production", "word"),
    [
        ({"format": "fax"}, False, "format"),
        ({"since": "soon"}, False, "since"),
        ({"token_file": "none"}, False, "token_file"),
        ({}, True, "https"),
    ],
)
async def test_a_destination_that_cannot_be_is_a_mistake_of_the_config(
    ledger: Ledger, changes: dict[str, str], production: bool, word: str
) -> None:
    feed = replace(ledger.gate.config.atna["arr"], **changes)  # type: ignore[arg-type]
    config = replace(ledger.gate.config, atna={"arr": feed}, production=production)
    with pytest.raises(ConfigError, match=word):
        async with atna.open_feeds(replace(ledger.gate, config=config)):
            pass


async def test_a_token_is_sent_along(
    ledger: Ledger, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    feed = replace(ledger.gate.config.atna["arr"], token_file="token")
    ledger.gate = replace(ledger.gate, config=replace(ledger.gate.config, atna={"arr": feed}))
    await ledger.grow(1)
    await sent(ledger)
    assert repository.headers[0]["Authorization"] == "Bearer s3cret"
