"""`chartgate proposals list | show`."""

import asyncio
from typing import Any

import aiohttp
import pytest

from chartgate.demo.rig import Rig
from tests.cli.conftest import Cli
from tests.cli.houses import booked


@pytest.fixture(scope="module")
def proposal(house: Rig) -> str:
    """The id of a booking that waits for review."""

    async def propose() -> str:
        async with aiohttp.ClientSession() as http:
            return await booked(house, http)

    return asyncio.run(propose())


def test_list_shows_states_and_nothing_of_a_chart(at_house: Cli, proposal: str, house: Rig) -> None:
    done = at_house("proposals", "list")
    assert done.code == 0
    assert f"{proposal}  pending-review  clinic-booking/book" in done.out
    rows: list[dict[str, Any]] = at_house("proposals", "list", "--json").json
    row = next(row for row in rows if row["id"] == proposal)
    assert (row["author"], row["stage"]) == ("client:slot-picker", "suggest")
    patient = asyncio.run(house.control("scenario"))["booking_patient"]
    assert patient not in done.out + str(rows)


def test_list_by_status_and_limit(at_house: Cli, proposal: str) -> None:
    rows = at_house("proposals", "list", "--status", "rolled-back", "--json").json
    assert proposal not in [row["id"] for row in rows]
    assert len(at_house("proposals", "list", "--limit", "1", "--json").json) == 1


def test_list_of_a_state_that_is_none_names_those_that_are(at_house: Cli) -> None:
    done = at_house("proposals", "list", "--status", "pending")
    assert done.code == 2
    assert "pending-review" in done.err


def test_show_of_one(at_house: Cli, proposal: str) -> None:
    done = at_house("proposals", "show", proposal)
    assert done.code == 0
    assert "status         pending-review" in done.out
    assert at_house("proposals", "show", proposal, "--json").json["id"] == proposal


@pytest.mark.parametrize("id_", ["248540fb-f62e-4491-8bbb-dcf95c4bd357", "7", "' OR 1=1", ""])
def test_show_of_one_that_is_not_there_says_how_to_find_them(at_house: Cli, id_: str) -> None:
    done = at_house("proposals", "show", id_)
    assert (done.code, done.out) == (1, "")
    assert "`chartgate proposals list` shows them" in done.err


def test_list_where_there_are_none_says_so(cli: Cli, folder: Any) -> None:
    done = cli("--config", folder / "chartgate.toml", "proposals", "list")
    assert (done.code, done.out) == (0, "no proposals\n")
