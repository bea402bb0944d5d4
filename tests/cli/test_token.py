"""`chartgate token list` and `chartgate token revoke`, on a Chartgate that is up."""

import asyncio

import aiohttp
import pytest

from chartgate.demo.rig import Rig
from tests.cli.conftest import Cli
from tests.cli.houses import slot_picker

CLIENT = "slot-picker"


@pytest.fixture
def token(house: Rig, at_house: Cli) -> dict[str, object]:
    """A token of slot-picker's, as the list shows it; the only one."""
    at_house("token", "revoke", "--client", CLIENT)
    asyncio.run(ask_for_token(house))
    (row,) = [row for row in at_house("token", "list", "--json").json if row["holder"] == CLIENT]
    found: dict[str, object] = row
    return found


async def ask_for_token(house: Rig) -> None:
    async with aiohttp.ClientSession() as http:
        await slot_picker(house, http).search("Slot", status="free")


def test_list_shows_who_holds_what_and_no_token(at_house: Cli, token: dict[str, object]) -> None:
    done = at_house("token", "list")
    assert done.code == 0
    assert f"{token['id']}  client {CLIENT}  until " in done.out
    assert "cg_" not in done.out
    assert token["sites"] == ["north-clinic"]


def test_dry_run_takes_nothing(at_house: Cli, token: dict[str, object]) -> None:
    done = at_house("token", "revoke", "--client", CLIENT, "--dry-run")
    assert (done.code, done.out) == (0, "would revoke 1 token\n")
    done = at_house("token", "revoke", "--id", str(token["id"]), "--json")
    assert (done.code, done.json) == (0, {"revoked": [token["id"]]})
    assert at_house("token", "revoke", "--client", CLIENT).out == "revoked 0 tokens\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--client", "nobody"), "no client nobody is registered"),
        (("--service", "nobody"), "no service nobody is registered"),
        (("--id", "000000000000"), "no token has the id"),
        ((), "one of the arguments"),
        (("--client", "a", "--service", "b"), "not allowed with"),
    ],
)
def test_what_names_nobody_is_wrong_input(at_house: Cli, words: tuple[str, ...], says: str) -> None:
    done = at_house("token", "revoke", *words)
    assert done.code == 2
    assert says in done.err
