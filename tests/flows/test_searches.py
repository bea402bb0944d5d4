"""The walk of a search, page by page, on a real store and a system of record in memory."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.errors import Denied, Gone, Moved, NotFound
from chartgate.flows import searches
from chartgate.flows.reads import Answer
from chartgate.gate import Gate
from chartgate.model.principal import Client
from chartgate.model.resource import SearchPage
from chartgate.policy.charters import compile_book
from chartgate.store.database import Database
from chartgate.store.governance import bump_epoch
from chartgate.store.interactions import InteractionStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import CHARTER, TestGate, open_test_gate, parse_test_charter
from tests.flows.reading import APPOINTMENT, CLIENT, PATIENT, SLOT, audited


@pytest.fixture
async def opened(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[TestGate]:
    async with open_test_gate(database, folder=tmp_path, clock=clock) as test_gate:
        for resource in (PATIENT, SLOT, APPOINTMENT):
            test_gate.source.put(resource)
        yield test_gate


async def search(
    gate: Gate,
    resource_type: str,
    criteria: list[tuple[str, str]],
    *,
    client: Client = CLIENT,
    **more: Any,
) -> Answer:
    return await searches.search(
        gate, client, "north-clinic", resource_type, criteria, **{"interaction": None, **more}
    )


async def test_search_shows_minimised_matches_and_keeps_them_in_the_read_set(
    opened: TestGate, database: Database
) -> None:
    opened.source.put({**SLOT, "id": "13", "status": "busy"})
    answer = await search(opened.gate, "Slot", [("status", "free")])
    bundle = orjson.loads(answer.body)
    assert bundle["type"] == "searchset"
    assert bundle["total"] == 1
    assert bundle["link"][0]["url"].endswith("/fhir/north-clinic/Slot?status=free")
    (entry,) = bundle["entry"]
    assert entry["fullUrl"].endswith("/fhir/north-clinic/Slot/12")
    assert "comment" not in entry["resource"]
    (seen,) = await InteractionStore(database).read_set(answer.interaction)
    assert seen.search == "Slot?status=free"
    assert (await audited(database))[0]["entities"] == ["Slot", "Slot/12"]


async def test_search_without_a_match_has_no_entry(opened: TestGate) -> None:
    bundle = orjson.loads((await search(opened.gate, "Slot", [("status", "busy")])).body)
    assert bundle["total"] == 0
    assert "entry" not in bundle


async def test_search_over_its_limit_says_so_and_gives_no_total(
    opened: TestGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_slots(opened, 5)
    limits = replace(opened.gate.config.web, search_count_max=2)
    gate = replace(opened.gate, config=replace(opened.gate.config, web=limits))
    bundle = orjson.loads((await search(gate, "Slot", [])).body)
    assert "total" not in bundle
    assert [link["relation"] for link in bundle["link"]] == ["self"]
    *matches, outcome = bundle["entry"]
    assert [m["search"]["mode"] for m in matches] == ["match", "match"]
    assert outcome["resource"]["issue"][0]["code"] == "too-costly"


def put_slots(opened: TestGate, count: int) -> None:
    for number in range(count - 1):
        opened.source.put({**SLOT, "id": f"n{number}"})


def ids(answer: Answer) -> list[str]:
    return [e["resource"]["id"] for e in orjson.loads(answer.body).get("entry", [])]


def cursor_of(answer: Answer) -> str | None:
    links = {li["relation"]: li["url"] for li in orjson.loads(answer.body)["link"]}
    return links["next"].partition("_cursor=")[2] if "next" in links else None


async def go_on(gate: Gate, cursor: str, client: Client = CLIENT, **more: Any) -> Answer:
    return await searches.search_on(
        gate, client, "north-clinic", more.pop("type", "Slot"), cursor, interaction=None
    )


@pytest.mark.parametrize(("count", "size"), [(7, 3), (6, 3), (1, 1), (5, 1), (4, 200)])
async def test_pages_show_each_match_once(opened: TestGate, count: int, size: int) -> None:
    put_slots(opened, count)
    answer = await search(opened.gate, "Slot", [], count=size)
    found = ids(answer)
    assert ("total" in orjson.loads(answer.body)) == (count <= size)
    for _ in range(count):
        if (cursor := cursor_of(answer)) is None:
            break
        answer = await go_on(opened.gate, cursor)
        assert "total" not in orjson.loads(answer.body)
        assert len(ids(answer)) <= size
        found += ids(answer)
    assert cursor_of(answer) is None
    assert sorted(found) == sorted(set(found))
    assert len(found) == count


async def test_page_goes_on_where_the_last_one_ended_whatever_went(opened: TestGate) -> None:
    put_slots(opened, 6)
    everything = ids(await search(opened.gate, "Slot", []))
    first = await search(opened.gate, "Slot", [], count=3)
    opened.source.remove(f"Slot/{everything[0]}")
    second = await go_on(opened.gate, cursor_of(first) or "")
    assert ids(second) == everything[3:]


@pytest.mark.parametrize("whose", ["unknown", "client", "type", "rules", "expired"])
async def test_cursor_is_of_one_client_one_search_and_one_decision(
    opened: TestGate, database: Database, clock: FakeClock, whose: str
) -> None:
    put_slots(opened, 3)
    cursor = cursor_of(await search(opened.gate, "Slot", [], count=1)) or ""
    client, kind = CLIENT, "Slot"
    if whose == "unknown":
        cursor = "x" * 32
    elif whose == "client":
        changed = CHARTER.replace(b"[slot-picker]", b"[slot-picker, other]")
        opened.gate.running.charters = compile_book([parse_test_charter(changed)])
        client = replace(CLIENT, id="other")
    elif whose == "type":
        kind = "Appointment"
    elif whose == "rules":
        changed = CHARTER + b"# another comment\n"
        opened.gate.running.charters = compile_book([parse_test_charter(changed)])
    else:
        clock.advance(601)
    asked = len(opened.source.asked)
    with pytest.raises((Gone, NotFound)):
        await go_on(opened.gate, cursor, client=client, type=kind)
    assert len(opened.source.asked) == asked, "the hospital saw nothing of it"
    event = (await audited(database))[-1]
    assert event["outcome"] == "denied"


async def test_right_that_is_taken_away_meanwhile_stops_the_answer(
    opened: TestGate, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taking(*_: Any, **__: Any) -> SearchPage:
        async with database.bookkeeping() as transaction:
            await bump_epoch(transaction, database.tenant)
        return await asked(*_, **__)

    asked = opened.source.search
    monkeypatch.setattr(opened.source, "search", taking)
    with pytest.raises(Moved):
        await search(opened.gate, "Slot", [])


@pytest.mark.parametrize("criterion", ["comment", "_include", "schedule.actor", "status:not"])
async def test_search_by_what_may_not_be_read_is_denied_before_the_hospital_sees_it(
    opened: TestGate, database: Database, criterion: str
) -> None:
    with pytest.raises(Denied):
        await search(opened.gate, "Slot", [(criterion, "x")])
    assert not opened.source.asked
    (event,) = await audited(database)
    assert (event["outcome"], event["reason"]) == ("denied", "search-guard")
    assert event["details"] == {"parameters": criterion}


async def test_search_of_a_type_without_search_is_not_found(opened: TestGate) -> None:
    with pytest.raises(NotFound):
        await search(opened.gate, "Patient", [])
