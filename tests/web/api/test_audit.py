"""The audit over JSON: who may look, that looking leaves its own event, and signing a review."""

from chartgate.flows import people
from tests.flows.clinics import SITE
from tests.web.api.promised import Api
from tests.web.front_desk import PASSWORD, FrontDesk, Session


async def officer(desk: FrontDesk, *roles: str) -> Session:
    await people.add_person(desk.gate, "pia", PASSWORD, list(roles or ("privacy-officer",)), [SITE])
    signed_in = await people.sign_in(desk.gate, "pia", PASSWORD)
    return Session(name="pia", cookie=signed_in.cookie, csrf=signed_in.csrf)


async def test_a_privacy_officer_finds_events_with_the_request_that_made_them(
    desk: FrontDesk, api: Api
) -> None:
    pia = await officer(desk)
    read = await desk.ask("GET", f"/fhir/{SITE}/Slot/none", headers=await desk.bearer())
    answer = await api("GET", "/v1/audit?action=fhir.read&count=1", headers=pia.headers)
    assert answer.status == 200
    [found] = answer.json["events"]
    assert found["event"]["request"] == read.headers["x-request-id"]
    assert found["event"]["network"] == "127.0.0.1"
    looked = await api("GET", "/v1/audit?action=audit.search", headers=pia.headers)
    mine = [each["event"] for each in looked.json["events"]]
    assert len(mine) == 2  # the look before, and this one
    assert {each["agent"] for each in mine} == {"person:pia"}


async def test_pages_follow_one_another(desk: FrontDesk, api: Api) -> None:
    pia = await officer(desk)
    one = await api("GET", "/v1/audit?count=1&agent=person:pia", headers=pia.headers)
    two = await api(
        "GET", f"/v1/audit?count=1&agent=person:pia&page={one.json['next']}", headers=pia.headers
    )
    assert one.json["events"] != two.json["events"]


async def test_staff_and_ai_clients_may_not_look_and_learn_nothing(
    desk: FrontDesk, api: Api
) -> None:
    for headers in ((await desk.sign_in("olu")).headers, await desk.bearer()):
        for path in ("/v1/audit?patient=Patient/1", "/v1/audit/review"):
            refused = await api("GET", path, headers=headers)
            assert refused.status == 403
            assert "Patient/1" not in refused.text
    assert (await api("GET", "/v1/audit")).status == 401


async def test_what_makes_no_sense_is_refused(desk: FrontDesk, api: Api) -> None:
    pia = await officer(desk)
    for query in ("actoin=x", "action=x", "outcome=maybe", "count=0", "count=x", "count=9999",
                  "since=soon", "page=zzz", "patient=a&patient=b"):  # fmt: skip
        refused = await api("GET", f"/v1/audit?{query}", headers=pia.headers)
        assert refused.status == 400, query


async def test_a_review_is_signed_by_a_person_over_exactly_what_they_saw(
    desk: FrontDesk, api: Api
) -> None:
    pia = await officer(desk)
    await desk.ask("GET", f"/fhir/{SITE}/Slot/none", headers=await desk.bearer())
    desk.clinic.clock.advance(60)
    seen = await api("GET", "/v1/audit/review?since=1d&until=1s", headers=pia.headers)
    rows = seen.json["report"]["rows"]
    assert any(row["agent"] == "client:slot-picker" and row["failed"] for row in rows), rows
    body = {key: seen.json[key] for key in ("since", "until", "digest")}
    other = await api(
        "POST", "/v1/audit/review", headers=pia.changing, json={**body, "digest": "ab" * 32}
    )
    assert other.status == 400
    signed = await api("POST", "/v1/audit/review", headers=pia.changing, json=body)
    assert (signed.status, signed.json["signed_by"]) == (201, "person:pia")
    path = f"/v1/audit/review?since={body['since'][:19]}Z&until={body['until'][:19]}Z"
    again = await api("GET", path, headers=pia.headers)
    assert [each["digest"] for each in again.json["signatures"]] == [body["digest"]]
    sofia = await desk.sign_in("sofia")
    refused = await api("POST", "/v1/audit/review", headers=sofia.changing, json=body)
    assert refused.status == 403
