"""`chartgate rollback`: a list first, then a person who signs in for exactly that."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from chartgate.cli.rollback import _time
from chartgate.demo.rig import PASSWORD, Rig, Staff, StaffRefused
from chartgate.errors import Invalid
from tests.cli.conftest import Cli
from tests.cli.houses import PATIENT_S, booked

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def written(house: Rig) -> str:
    """The id of a booking that stands in the hospital's chart."""
    return asyncio.run(verified(house))


async def verified(house: Rig) -> str:
    async with aiohttp.ClientSession() as http:
        id_ = await booked(house, http)
        staff = Staff(house.gateway, http, "sofia")
        await staff.sign_in()
        while True:
            seen = await staff.get(f"/v1/proposals/{id_}")
            if seen["status"] == "verified":
                return id_
            with suppress(StaffRefused):  # e.g. too soon to have read it
                await staff.post(
                    f"/v1/proposals/{id_}/review",
                    verdict="approve",
                    digest=seen["content"]["digest"],
                )
            await asyncio.sleep(0.1)


def status_of(at_house: Cli, id_: str) -> str:
    return str(at_house("proposals", "show", id_, "--json").json["status"])


def test_dry_run_then_the_same_with_the_list_takes_it_back(at_house: Cli, written: str) -> None:
    select = ("rollback", "--client", "slot-picker", "--since", "1h")
    listed = at_house(*select, "--dry-run")
    assert listed.code == 0, listed.err
    assert f"undo   {written}" in listed.out
    assert "newest first; " in listed.out
    assert status_of(at_house, written) == "verified"
    made: dict[str, Any] = at_house(*select, "--dry-run", "--json").json
    assert f"--list {made['list']}" in listed.out
    go = (*select, "--list", made["list"], "--reason", "drill", "--as", "sofia")
    wrong = at_house(*go, stdin="not the password")
    assert (wrong.code, "name or password is wrong" in wrong.err) == (1, True)
    assert status_of(at_house, written) == "verified"
    done = at_house(*go, stdin=PASSWORD)
    assert (done.code, done.err) == (0, "")
    assert f"asked for {made['undo']}, which workers take back newest first" in done.out
    deadline = time.monotonic() + PATIENT_S
    while status_of(at_house, written) != "rolled-back":
        assert time.monotonic() < deadline


def test_one_proposal_is_shown_to_people_only(at_house: Cli, written: str) -> None:
    look = ("rollback", "--proposal", written, "--dry-run")
    refused = at_house(*look)
    assert (refused.code, "--as" in refused.err) == (2, True)
    shown = at_house(*look, "--as", "sofia", stdin=PASSWORD)
    assert shown.code == 0, shown.err
    assert "status: before" in shown.out
    assert at_house(*look, "--as", "sofia", "--json", stdin=PASSWORD).json[0]["elements"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--client", "slot-picker"), "--list and --reason and --as missing"),
        (("--proposal", "x", "--client", "y", "--dry-run"), "not both"),
        (("--dry-run",), "say whose writes"),
        (("--client", "slot-picker", "--since", "soon", "--dry-run"), "a time is a date"),
        (("--until", "1h", "--dry-run"), "say whose writes"),
    ],
    ids=["no dry run", "one and many", "nothing", "no time", "only an end"],
)
def test_what_makes_no_sense_is_refused_with_what_to_do(
    at_house: Cli, words: tuple[str, ...], said: str
) -> None:
    done = at_house("rollback", *words)
    assert done.code == 2
    assert said in done.err


def test_time_of_day_is_the_last_time_it_was_that() -> None:
    here = NOW.astimezone()
    just_now = here - timedelta(minutes=1)
    assert _time(f"{just_now:%H:%M}", NOW) == just_now.replace(second=0, microsecond=0)
    later = here + timedelta(minutes=1)
    assert _time(f"{later:%H:%M}", NOW) == later.replace(second=0) - timedelta(days=1)
    assert _time("2h", NOW) == NOW - timedelta(hours=2)
    with pytest.raises(Invalid):
        _time("25:00", NOW)
