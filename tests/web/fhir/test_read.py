"""GET /fhir/{site}/{type}/{id} over a socket."""

from datetime import datetime

import pytest
from multidict import CIMultiDict

from chartgate.errors import SourceUnreachable, Throttled
from chartgate.testing.clock import FakeClock
from tests.web.serving import Served

CHALLENGE = (
    'Bearer realm="chartgate", resource_metadata="http://127.0.0.1:8480/.well-known/'
    'oauth-protected-resource"'
)
PER_REQUEST = {"chartgate-decision", "x-request-id"}


async def get(served: Served, path: str, **headers: str) -> tuple[int, CIMultiDict[str], bytes]:
    sent = {**await served.bearer(), **{k.replace("_", "-"): v for k, v in headers.items()}}
    async with served.http.get(f"{served.url}/fhir/{path}", headers=sent) as answer:
        return answer.status, answer.headers.copy(), await answer.read()


async def test_read_answers_the_resource_with_what_a_client_needs_to_build_on_it(
    served: Served,
) -> None:
    status, headers, body = await get(served, "north-clinic/Slot/12")
    assert status == 200
    assert headers["Content-Type"].startswith("application/fhir+json")
    assert headers["ETag"].startswith('W/"1-')
    assert datetime.fromisoformat(headers["Chartgate-As-Of"]) == served.gate.clock()
    assert len(headers["Chartgate-Interaction"]) == 36
    assert len(headers["Chartgate-Decision"]) == 64
    assert b'"SUBSETTED"' in body


async def test_read_continues_the_interaction_that_is_named(served: Served) -> None:
    _, first, _ = await get(served, "north-clinic/Slot/12")
    _, second, _ = await get(
        served, "north-clinic/Patient/7", Chartgate_Interaction=first["Chartgate-Interaction"]
    )
    assert second["Chartgate-Interaction"] == first["Chartgate-Interaction"]


@pytest.mark.parametrize("interaction", ["", "42", "x" * 36])
async def test_interaction_that_is_none_is_invalid(served: Served, interaction: str) -> None:
    status, _, _ = await get(served, "north-clinic/Slot/12", Chartgate_Interaction=interaction)
    assert status == 400


async def test_read_with_the_version_it_has_is_a_304_without_a_body(served: Served) -> None:
    _, first, _ = await get(served, "north-clinic/Slot/12")
    status, headers, body = await get(served, "north-clinic/Slot/12", If_None_Match=first["ETag"])
    assert (status, body) == (304, b"")
    assert headers["ETag"] == first["ETag"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("north-clinic/Observation/1", {}),
        ("south-clinic/Slot/12", {}),
        ("north-clinic/Practitioner/12", {"If-None-Match": "*"}),
        ("north-clinic/Slot/12", {"Chartgate-Interaction": "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"}),
    ],
    ids=["type", "site", "type with a version", "interaction of another"],
)
async def test_refused_read_cannot_be_told_from_a_read_of_nothing(
    served: Served, path: str, headers: dict[str, str]
) -> None:
    missing = await get(served, "north-clinic/Slot/404")
    refused = await get(served, path, **headers)
    assert missing[0] == refused[0] == 404
    assert missing[2] == refused[2]
    assert list(missing[1]) == list(refused[1])
    for name in {n.lower() for n in missing[1]} - PER_REQUEST:
        assert missing[1][name] == refused[1][name]


@pytest.mark.parametrize(
    "path",
    [
        "north-clinic/slot/12",
        "north-clinic/Slot/_history",
        "north-clinic/Slot/" + "x" * 65,
        "north-clinic/Slot/%C3%A9",
        "north-clinic/Slot/$validate",
        "north-clinic/Slot/12?_elements=status",
        "north-clinic/Slot/12?_summary=false",
        "north-clinic/Slot/12?access_token=x",
        "north-clinic/Slot/12?x",
        "north-clinic/Slot/12?%ff=1",
    ],
)
async def test_read_that_asks_for_what_is_none_is_invalid(served: Served, path: str) -> None:
    assert (await get(served, path))[0] == 400
    assert not served.opened.source.asked


@pytest.mark.parametrize(
    ("query", "accept", "status"),
    [
        ("?_format=json", "*/*", 200),
        ("?_format=application/fhir%2Bjson&_pretty=true", "*/*", 200),
        ("?_format=xml", "*/*", 406),
        ("", "application/fhir+json;fhirVersion=4.0", 200),
        ("", "application/fhir+xml", 406),
        ("", "text/html,*/*;q=0.1", 200),
    ],
)
async def test_only_json_is_served(served: Served, query: str, accept: str, status: int) -> None:
    assert (await get(served, f"north-clinic/Slot/12{query}", Accept=accept))[0] == status


async def test_stale_answer_is_marked(served: Served, clock: FakeClock) -> None:
    served.opened.source.put({"resourceType": "Appointment", "id": "3", "status": "booked"})
    await get(served, "north-clinic/Appointment/3")
    seen_at = clock()
    clock.advance(60)
    served.opened.source.fault = SourceUnreachable("north-ehr did not answer")
    status, headers, _ = await get(served, "north-clinic/Appointment/3")
    assert status == 200
    assert headers["Chartgate-Stale"] == "true"
    assert headers["Warning"].startswith("110")
    assert datetime.fromisoformat(headers["Chartgate-As-Of"]) == seen_at


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        (SourceUnreachable("north-ehr did not answer"), 503, "2"),
        (Throttled("north-ehr wants us to slow down", retry_after_s=17), 429, "17"),
    ],
    ids=["unreachable", "throttled"],
)
async def test_hospital_that_does_not_answer_is_said_with_when_to_come_back(
    served: Served, fault: Exception, status: int, retry_after: str
) -> None:
    served.opened.source.fault = fault  # type: ignore[assignment]
    answered, headers, body = await get(served, "north-clinic/Slot/12")
    assert (answered, headers["Retry-After"]) == (status, retry_after)
    assert b"north-ehr" in body


async def test_every_answer_to_a_stranger_is_the_same_401(served: Served) -> None:
    answers = set()
    for authorization in ("Bearer cg_" + "A" * 43, "Bearer x", "Basic eDp4", "Bearer ", "bearer"):
        async with served.http.get(
            f"{served.url}/fhir/north-clinic/Slot/12", headers={"Authorization": authorization}
        ) as answer:
            shown = {k: v for k, v in answer.headers.items() if k.lower() not in PER_REQUEST}
            assert answer.headers["WWW-Authenticate"] == CHALLENGE
            answers.add((answer.status, await answer.read(), tuple(shown.items())))
    assert {status for status, _, _ in answers} == {401}
    assert len(answers) == 1
