"""`chartgate review stats`: how people review, for whoever runs it."""

import asyncio
import re

import aiohttp
import pytest

from chartgate.cli.review import NOTHING
from chartgate.demo.rig import Rig, Staff
from tests.cli.conftest import Cli
from tests.cli.houses import booked


@pytest.fixture(scope="module")
def refused(house: Rig) -> str:
    """The id of a booking that sofia refused, so that the house stays as it was."""
    return asyncio.run(_refused(house))


async def _refused(house: Rig) -> str:
    async with aiohttp.ClientSession() as http:
        id_ = await booked(house, http)
        sofia = Staff(house.gateway, http, "sofia")
        await sofia.sign_in()
        proposal = await sofia.get(f"/v1/proposals/{id_}")
        await sofia.post(
            f"/v1/proposals/{id_}/review",
            verdict="refuse",
            digest=proposal["content"]["digest"],
            reason="the wrong day",
        )
    return id_


@pytest.mark.usefixtures("refused")
def test_stats_show_charters_and_under_each_its_reviewers(at_house: Cli) -> None:
    done = at_house("review", "stats")
    assert done.code == 0
    assert re.search(r"^clinic-booking\n(  .*\n)+  sofia\n", done.out, flags=re.MULTILINE)
    assert re.search(r"approved +\d+ of \d+ \(\d+%, \d+% to \d+%\)", done.out)
    assert "Patient" not in done.out


@pytest.mark.usefixtures("refused")
def test_stats_as_json_hold_the_same(at_house: Cli) -> None:
    found = at_house("review", "stats", "--charter", "clinic-booking", "--json").json
    (charter,) = found["charters"]
    sofia = next(r for r in found["reviewers"] if r["person"] == "sofia")
    assert charter["charter"] == sofia["charter"] == "clinic-booking"
    assert sofia["approved"]["n"] >= 1
    assert set(sofia["approved"]) == {"k", "n", "value", "interval"}
    assert found["complete"] is True


def test_stats_of_nobody_say_so(at_house: Cli) -> None:
    done = at_house("review", "stats", "--person", "nobody-such")
    assert (done.code, done.out.strip()) == (0, NOTHING)


@pytest.mark.parametrize("words", [("--since", "yesterday"), ("--last", "0"), ("--last", "x")])
def test_stats_with_a_wrong_argument_say_what_is_wrong(at_house: Cli, words: tuple[str]) -> None:
    done = at_house("review", "stats", *words)
    assert done.code == 2
    assert done.err
