"""Breaking the glass over JSON, held against the contract."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chartgate.config import PeopleConfig
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import SITE
from tests.web.api.promised import Api
from tests.web.console.test_break_glass import JSON, officer
from tests.web.front_desk import FrontDesk, open_front_desk


@pytest.fixture
async def desk(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[FrontDesk]:
    settings = PeopleConfig(break_glass_roles=("clinician",))
    async with open_front_desk(database, clock, tmp_path, people=settings) as opened:
        yield opened


async def test_walk_from_opening_to_review(desk: FrontDesk, api: Api) -> None:
    osei, pia = await desk.sign_in("dr-osei"), await officer(desk)
    opened = await api("POST", "/v1/break-glass", headers=osei.changing, json=JSON)
    assert (opened.status, opened.json["state"]) == (201, "open")
    path = f"/v1/break-glass/{opened.json['id']}"
    found = {"finding": "justified", "remark": "The sheet of that night."}
    early = await api("POST", f"{path}/review", headers=pia.changing, json=found)
    assert (early.status, "still open" in early.diagnostics) == (403, True)
    ended = await api("POST", f"{path}/end", headers=osei.changing)
    assert ended.json["state"] == "to-review"
    listed = await api("GET", "/v1/break-glass", headers=pia.headers)
    assert [g["id"] for g in listed.json["to_review"]] == [opened.json["id"]]
    own = await api("POST", f"{path}/review", headers=osei.changing, json=found)
    assert (own.status, "of their own" in own.diagnostics) == (403, True)
    done = await api("POST", f"{path}/review", headers=pia.changing, json=found)
    assert (done.json["state"], done.json["reviewed_by"]) == ("reviewed", "person:pia")
    again = await api("POST", f"{path}/review", headers=pia.changing, json=found)
    assert again.status == 409


async def test_what_is_wrong_is_refused_with_a_sentence(desk: FrontDesk, api: Api) -> None:
    osei = await desk.sign_in("dr-osei")
    for change, sentence in (
        ({"minutes": 61}, "minutes must be from 1 to 60"),
        ({"minutes": 0.5}, "whole number"),
        ({"minutes": "30"}, "must be a number"),
        ({"words": "short"}, "10 to 500 characters"),
        ({"code": "TREAT"}, "one of ETREAT, BTG"),
        ({"patient": "*"}, "name one patient"),
    ):
        refused = await desk.ask(
            "POST", "/v1/break-glass", headers=osei.changing, json=JSON | change
        )
        assert (refused.status, sentence in refused.diagnostics) == (400, True), change
    elsewhere = await api(
        "POST", "/v1/break-glass", headers=osei.changing, json=JSON | {"site": "south"}
    )
    assert (elsewhere.status, SITE in elsewhere.diagnostics) == (403, False)
