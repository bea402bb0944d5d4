"""E-15: the glass is broken by people, with a reason, for one patient, and somebody looks at it."""

from typing import Any

import pytest

from chartgate.flows import people
from tests.attacks.contract import refused
from tests.flows.clinics import SITE
from tests.web.front_desk import PASSWORD, FrontDesk, Session

WANTED = {
    "site": SITE,
    "patient": "Patient/7",
    "code": "BTG",
    "words": "Unconscious in A&E, no history.",
    "minutes": 60,
}
PATH = "/v1/break-glass"


async def person(desk: FrontDesk, name: str, role: str) -> Session:
    """Somebody with that role, signed in."""
    if name not in desk.added:
        await people.add_person(desk.gate, name, PASSWORD, [role], [SITE])
        desk.added.add(name)
    signed_in = await people.sign_in(desk.gate, name, PASSWORD)
    return Session(name=name, cookie=signed_in.cookie, csrf=signed_in.csrf)


@pytest.mark.parametrize(
    "change",
    [
        {"words": ""},
        {"words": "urgent"},
        {"code": ""},
        {"code": "TREAT"},
        {"patient": "Patient/7,Patient/8"},
        {"patient": "*"},
        {"minutes": 61},
        {"minutes": 100_000},
    ],
    ids=str,
)
async def test_E_15_without_reason_or_for_more_than_one_patient_or_an_hour(
    desk: FrontDesk, change: dict[str, Any]
) -> None:
    night = await person(desk, "night", "break-glass")
    await refused(
        desk,
        lambda: desk.ask("POST", PATH, headers=night.changing, json=WANTED | change),
        status=400,
    )


async def test_E_15_by_an_agent(desk: FrontDesk, bearer: dict[str, str]) -> None:
    await refused(desk, lambda: desk.ask("POST", PATH, headers=bearer, json=WANTED), status=403)


async def test_E_15_by_a_person_without_the_role(desk: FrontDesk) -> None:
    sofia = await desk.sign_in("sofia")
    await refused(
        desk,
        lambda: desk.ask("POST", PATH, headers=sofia.changing, json=WANTED),
        status=403,
        reason="no-role",
        action="break-glass.open",
    )


async def test_E_15_used_again_prolonged_or_reviewed_by_whoever_opened_it(desk: FrontDesk) -> None:
    dusk = await person(desk, "dusk", "break-glass")
    opened = await desk.ask("POST", PATH, headers=dusk.changing, json=WANTED)
    assert opened.status == 201
    again = WANTED | {"words": "It takes longer than I thought."}
    await refused(
        desk,
        lambda: desk.ask("POST", PATH, headers=dusk.changing, json=again),
        status=403,
        reason="already-open",
    )
    own = f"{PATH}/{opened.json['id']}"
    await desk.ask("POST", f"{own}/end", headers=dusk.changing)
    await refused(
        desk,
        lambda: desk.ask("POST", PATH, headers=dusk.changing, json=WANTED),
        status=403,
        reason="same-words",
    )
    found = {"finding": "justified", "remark": "It was me."}
    await refused(
        desk,
        lambda: desk.ask("POST", f"{own}/review", headers=dusk.changing, json=found),
        status=403,
        action="break-glass.review",
    )
    sofia = await desk.sign_in("sofia")
    await refused(
        desk,
        lambda: desk.ask("POST", f"{own}/review", headers=sofia.changing, json=found),
        status=404,
    )
