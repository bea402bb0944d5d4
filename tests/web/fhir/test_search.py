"""Type search over a socket, by query and by form."""

from typing import Any

import pytest
from multidict import CIMultiDict

from chartgate.store.interactions import InteractionStore
from tests.web.serving import Served


async def search(
    served: Served, query: str, *, form: str | None = None
) -> tuple[int, CIMultiDict[str], dict[str, Any]]:
    url = f"{served.url}/fhir/north-clinic/{query}"
    headers = await served.bearer()
    if form is None:
        request = served.http.get(url, headers=headers)
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        request = served.http.post(url, data=form, headers=headers)
    async with request as answer:
        return answer.status, answer.headers.copy(), await answer.json(content_type=None)


async def test_search_by_query_and_by_form_find_the_same(served: Served) -> None:
    _, headers, by_query = await search(served, "Slot?status=free&_format=json")
    status, _, by_form = await search(served, "Slot/_search", form="status=free")
    assert status == 200
    assert by_query == by_form
    assert [entry["resource"]["id"] for entry in by_query["entry"]] == ["12"]
    seen = await InteractionStore(served.gate.database).read_set(headers["Chartgate-Interaction"])
    assert [row.search for row in seen] == ["Slot?status=free"]


@pytest.mark.parametrize("count", ["0", "-1", "x", "1&_count=2", "٣"])
async def test_count_that_is_none_is_invalid(served: Served, count: str) -> None:
    assert (await search(served, f"Slot?_count={count}"))[0] == 400


async def test_count_limits_a_page_and_its_link_leads_to_the_next(served: Served) -> None:
    served.opened.source.put({"resourceType": "Slot", "id": "13", "status": "free"})
    _, headers, bundle = await search(served, "Slot?_count=1")
    assert len(bundle["entry"]) == 1
    links = {link["relation"]: link["url"] for link in bundle["link"]}
    query = links["next"].rpartition("/")[2]
    status, next_headers, following = await search(served, query)
    assert status == 200
    assert next_headers["Chartgate-Interaction"] == headers["Chartgate-Interaction"]
    (entry,) = following["entry"]
    assert entry["resource"]["id"] != bundle["entry"][0]["resource"]["id"]
    assert [link["relation"] for link in following["link"]] == ["self"]
    assert (await search(served, query + "x"))[0] == 410
    assert (await search(served, query + "&status=free"))[0] == 400


@pytest.mark.parametrize(
    "query",
    [
        "Slot?comment=x",
        "Slot?_include=Slot:schedule",
        "Slot?_has:Appointment:slot:status=booked",
        "Slot?schedule.actor=Practitioner/1",
        "Slot?_elements=status",
        "Slot?_total=accurate",
        "Slot?access_token=x",
    ],
)
async def test_search_by_what_may_not_be_read_is_denied_with_a_sentence(
    served: Served, query: str
) -> None:
    status, _, outcome = await search(served, query)
    assert status == 403
    assert outcome["issue"][0]["code"] == "forbidden"
    assert outcome["issue"][0]["diagnostics"]
    assert not served.opened.source.asked


async def test_form_and_query_together_are_invalid(served: Served) -> None:
    assert (await search(served, "Slot/_search?status=free", form="status=busy"))[0] == 400


async def test_form_of_another_media_type_is_refused(served: Served) -> None:
    async with served.http.post(
        f"{served.url}/fhir/north-clinic/Slot/_search", json={}, headers=await served.bearer()
    ) as answer:
        assert answer.status == 415
