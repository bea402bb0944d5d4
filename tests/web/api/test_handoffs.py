"""The worklist over JSON."""

from tests.web.api.promised import Api
from tests.web.front_desk import FrontDesk


async def test_handoff_is_listed_taken_and_closed(desk: FrontDesk, api: Api) -> None:
    proposal = await desk.clinic.booked(confidence=0.41)
    sofia = await desk.sign_in()
    (handoff,) = (await api("GET", "/v1/handoffs", headers=sofia.headers)).json["handoffs"]
    assert (handoff["proposal"], handoff["status"]) == (proposal.id, "open")
    assert "confidence" in handoff["reason"]
    shown = await api("GET", f"/v1/proposals/{proposal.id}", headers=sofia.headers)
    assert shown.json["handoff"]["id"] == handoff["id"]

    path = f"/v1/handoffs/{handoff['id']}"
    taken = await api("POST", f"{path}/take", headers=sofia.changing)
    assert (taken.json["status"], taken.json["taken_by"]) == ("taken", "person:sofia")
    again = await api("POST", f"{path}/take", headers=sofia.changing)
    assert (again.status, again.diagnostics) == (409, "this handoff is taken already")

    closed = await api(
        "POST", f"{path}/close", headers=sofia.changing, json={"outcome": "Booked by phone."}
    )
    assert (closed.json["status"], closed.json["outcome"]) == ("closed", "Booked by phone.")
    assert (await api("GET", "/v1/handoffs", headers=sofia.headers)).json == {"handoffs": []}
    assert (await desk.clinic.get(proposal)).status.value == "closed"


async def test_handoff_closed_without_an_outcome_is_refused(desk: FrontDesk, api: Api) -> None:
    await desk.clinic.booked(confidence=0.41)
    sofia = await desk.sign_in()
    (handoff,) = (await api("GET", "/v1/handoffs", headers=sofia.headers)).json["handoffs"]
    for outcome in ("", "  ", "x" * 2001):
        path = f"/v1/handoffs/{handoff['id']}/close"
        refused = await api("POST", path, headers=sofia.changing, json={"outcome": outcome})
        assert refused.status == 400


async def test_list_of_one_worklist(desk: FrontDesk, api: Api) -> None:
    await desk.clinic.booked(confidence=0.41)
    sofia = await desk.sign_in()
    for worklist, count in (("front-desk", 1), ("documentation", 0)):
        answer = await api("GET", f"/v1/handoffs?worklist={worklist}", headers=sofia.headers)
        assert len(answer.json["handoffs"]) == count
    refused = await api("GET", "/v1/handoffs?worklists=x", headers=sofia.headers)
    assert (refused.status, "did you mean worklist" in refused.diagnostics) == (400, True)


async def test_handoff_of_another_role_is_neither_shown_nor_taken(
    desk: FrontDesk, api: Api
) -> None:
    await desk.clinic.booked(confidence=0.41)
    sofia, osei = await desk.sign_in(), await desk.sign_in("dr-osei")
    (handoff,) = (await api("GET", "/v1/handoffs", headers=sofia.headers)).json["handoffs"]
    assert (await api("GET", "/v1/handoffs", headers=osei.headers)).json == {"handoffs": []}
    path = f"/v1/handoffs/{handoff['id']}/take"
    assert (await api("POST", path, headers=osei.changing)).status == 403
    assert (await api("POST", path, headers=sofia.headers)).status == 403


async def test_handoff_that_is_not_there_is_not_found(desk: FrontDesk, api: Api) -> None:
    sofia = await desk.sign_in()
    path = "/v1/handoffs/00000000-0000-4000-8000-000000000000/take"
    assert (await api("POST", path, headers=sofia.changing)).status == 404
    assert (await api("POST", "/v1/handoffs/x/take", headers=sofia.changing)).status == 404


async def test_ai_client_has_no_worklist(desk: FrontDesk, api: Api) -> None:
    refused = await api("GET", "/v1/handoffs", headers=await desk.bearer())
    assert (refused.status, "only a person" in refused.diagnostics) == (403, True)
