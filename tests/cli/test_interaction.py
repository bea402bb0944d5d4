"""`chartgate interaction show`: what left the gateway, byte for byte."""

import asyncio
import uuid

import pytest

from chartgate.demo.rig import Rig
from tests.cli.conftest import Cli
from tests.cli.houses import reader

Answered = tuple[str, bytes]  # interaction, body


@pytest.fixture(scope="module")
def answered(house: Rig) -> Answered:
    """An AI client reads a patient; what it got."""

    async def read() -> Answered:
        async with reader(house) as one:
            headers = {"Authorization": f"Bearer {await one.gateway._token()}"}
            url = f"{house.gateway}/fhir/north-clinic/{one.reference}"
            async with one.http.get(url, headers=headers) as answer:
                body = await answer.read()
                assert answer.status == 200
                return answer.headers["Chartgate-Interaction"], body

    return asyncio.run(read())


def test_show_gives_back_the_bytes_that_were_sent(at_house: Cli, answered: Answered) -> None:
    interaction, body = answered
    done = at_house("interaction", "show", interaction)
    assert done.code == 0
    assert "as it was shown" in done.out
    assert body.decode() in done.out
    assert at_house("interaction", "show", interaction, "--json").json["answers"][0]["holds"]


def test_raw_bytes_are_those_of_the_one_answer(at_house: Cli, answered: Answered) -> None:
    interaction, body = answered
    done = at_house("interaction", "show", interaction, "--raw", "1")
    assert (done.code, done.out) == (0, body.decode())
    done = at_house("interaction", "show", interaction, "--raw", "9")
    assert (done.code, done.out) == (1, "")
    assert "it has 1 answers" in done.err


@pytest.mark.parametrize(
    ("id_", "code", "words"),
    [
        ("nonsense", 2, "no id of an interaction"),
        (str(uuid.UUID(int=7)), 1, "there is no interaction"),
    ],
)
def test_show_of_what_is_not_there(at_house: Cli, id_: str, code: int, words: str) -> None:
    done = at_house("interaction", "show", id_)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
