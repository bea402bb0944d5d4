"""Taking back many over JSON: what is asked for is what was listed; and the three-way view."""

from chartgate.flows import commits
from chartgate.model.proposal import Status
from tests.web.api.promised import Api
from tests.web.front_desk import FrontDesk


async def test_list_then_exactly_that_is_taken_back(desk: FrontDesk, api: Api) -> None:
    verified = await desk.clinic.verified()
    sofia = await desk.sign_in()
    listed = await api("GET", "/v1/rollbacks?client=slot-picker&since=2h", headers=sofia.headers)
    assert (listed.status, listed.json["undo"], listed.json["cannot"]) == (200, 1, 0)
    (item,) = listed.json["items"]
    assert (item["proposal"]["id"], item["verdict"]) == (verified.id, "undo")
    body = {"client": "slot-picker", "since": "2h", "list": listed.json["list"], "reason": "wrong"}
    asked = await api("POST", "/v1/rollbacks", headers=sofia.changing, json=body)
    assert (asked.status, asked.json["undo"]) == (202, 1)
    await desk.work()
    assert (await desk.clinic.get(verified)).status is Status.ROLLED_BACK
    again = await api("POST", "/v1/rollbacks", headers=sofia.changing, json=body)
    assert again.status == 409
    assert "dry run" in again.diagnostics


async def test_who_may_not_is_refused_and_what_makes_no_sense_too(
    desk: FrontDesk, api: Api
) -> None:
    verified = await desk.clinic.verified()
    sofia, nora, agent = await desk.sign_in(), await desk.sign_in("nora"), await desk.bearer()
    url = "/v1/rollbacks?client=slot-picker"
    assert (await api("GET", url, headers=agent)).status == 403
    assert (await api("GET", url, headers=nora.headers)).json["items"] == []
    digest = (await api("GET", url, headers=sofia.headers)).json["list"]
    body = {"client": "slot-picker", "list": digest, "reason": "wrong"}
    for headers in (nora.changing, agent, sofia.headers):
        refused = await api("POST", "/v1/rollbacks", headers=headers, json=body)
        assert refused.status in (401, 403, 409)
    assert (await api("GET", "/v1/rollbacks", headers=sofia.headers)).status == 400
    assert (await api("GET", f"{url}&since=soon", headers=sofia.headers)).status == 400
    assert (await desk.clinic.get(verified)).status is Status.VERIFIED


async def test_three_way_view_says_what_somebody_changed_since(desk: FrontDesk, api: Api) -> None:
    clinic = desk.clinic
    slot = clinic.hospital.scenario.free_slots[0]
    verified = await clinic.verified(slot)
    clinic.hospital.edit({**clinic.hospital.resource(slot), "status": "busy-unavailable"})
    sofia, nora, agent = await desk.sign_in(), await desk.sign_in("nora"), await desk.bearer()
    url = f"/v1/proposals/{verified.id}/three-way"
    shown = await api("GET", url, headers=sofia.headers)
    appointment, moved = shown.json["resources"]
    assert (appointment["moved_on"], moved["moved_on"]) == (False, True)
    assert moved["reference"] == slot
    assert moved["elements"] == [
        {"path": "status", "before": "free", "written": "busy", "now": "busy-unavailable"}
    ]
    assert {"path": "status", "before": None, "written": "booked", "now": "booked"} in appointment[
        "elements"
    ]
    assert (await api("GET", url, headers=nora.headers)).status == 404
    assert (await api("GET", url, headers=agent)).status == 403
    pending = await clinic.booked(clinic.hospital.scenario.free_slots[1])
    early = await api("GET", f"/v1/proposals/{pending.id}/three-way", headers=sofia.headers)
    assert early.status == 409
    assert not await commits.commit_next(clinic.gate, "w1")
