"""`chartgate person add`."""

import getpass
import io
import sys

import pytest

from chartgate.cli.person import read_password
from chartgate.errors import Invalid
from tests.cli.conftest import Cli

ADD = ("person", "add", "ada", "--role", "scheduler", "--site", "north-clinic")


def test_person_is_added_with_the_password_from_standard_input(at_house: Cli) -> None:
    done = at_house(*ADD, stdin="correct horse\r\n")
    assert (done.code, done.out, done.err) == (0, "ada may sign in\n", "")
    done = at_house(*ADD, "--role", "operator", "--json", stdin="correct horse")
    assert done.json == {
        "person": "ada",
        "roles": ["scheduler", "operator"],
        "sites": ["north-clinic"],
    }


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [
        ("", "no password was given; type it, or pipe it in"),
        ("\n", "no password was given"),
        ("short\n", "a password has 8 to 1024 characters"),
        ("tab\tbed and long\n", "characters that cannot be typed"),
    ],
)
def test_password_that_will_not_do_is_wrong_input(at_house: Cli, stdin: str, sentence: str) -> None:
    done = at_house(*ADD, stdin=stdin)
    assert done.code == 2
    assert sentence in done.err
    assert not stdin.strip() or stdin.strip() not in done.err


def test_name_that_will_not_do_is_wrong_input(at_house: Cli) -> None:
    done = at_house("person", "add", "Ada L", "--role", "x", "--site", "y", stdin="correct horse\n")
    assert done.code == 2
    assert "a name is 1 to 64 of a-z" in done.err


def test_role_or_site_that_no_charter_names_is_noted(at_house: Cli) -> None:
    done = at_house(
        "person", "add", "bob", "--role", "schedler", "--site", "nort", stdin="correct horse\n"
    )
    assert done.code == 0
    assert "note: no charter names the role schedler; known: " in done.err
    assert "note: no charter names the site nort; known: north-clinic" in done.err


def test_password_that_is_no_text_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), "utf-8"))
    with pytest.raises(Invalid, match="not UTF-8"):
        read_password()


def test_end_of_input_at_the_prompt_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def ended() -> str:
        raise EOFError

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", ended)
    with pytest.raises(Invalid, match="no password was given"):
        read_password()
