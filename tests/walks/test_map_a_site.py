"""docs/howto/map-a-site.md, followed: its message, its rules, and what it says of both."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Done, cli

__all__ = ["cli"]  # the fixture of the commands' own tests

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "map-a-site.md"


def block(language: str) -> str:
    [found] = re.findall(
        rf"^```{language}\n(.*?)^```$", HOWTO.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return str(found)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The folder of the how-to, before its second step."""
    settings = block("toml").replace('overrides = "south.toml"\n', "")
    (tmp_path / "chartgate.toml").write_text(settings, encoding="utf-8")
    (tmp_path / "a08.hl7").write_text(block("hl7"), encoding="utf-8")
    return tmp_path


def transformed(cli: Cli, site: Path, *words: str) -> Done:
    return cli(
        "--config",
        site / "chartgate.toml",
        "transform",
        site / "a08.hl7",
        "--site",
        "south-clinic",
        *words,
    )


def explained(cli: Cli, site: Path) -> list[str]:
    return [" ".join(line.split()) for line in transformed(cli, site, "--explain").out.splitlines()]


def test_message_is_first_explained_as_the_page_says(cli: Cli, site: Path) -> None:
    said = HOWTO.read_text(encoding="utf-8")
    lines = explained(cli, site)
    assert not [line for line in lines if line.startswith("Encounter/")]
    [left] = [line for line in lines if "ZPI-3" in line]
    assert f"`{left}`" in said
    [gender] = [line for line in transformed(cli, site).out.splitlines() if "gender" in line]
    assert f"`{gender.strip()}`" in said


def test_rules_of_the_page_do_what_it_says(cli: Cli, site: Path) -> None:
    (site / "south.toml").write_text(block("ini"), encoding="utf-8")
    (site / "chartgate.toml").write_text(block("toml"), encoding="utf-8")
    lines = explained(cli, site)
    assert "gender PID-8 [PID Patient]" in lines
    assert "extension[].valueString ZPI-3 [ZPI Patient]" in lines
    assert "identifier[] PV1-19 [PV1 Encounter]" in lines
    assert [line for line in lines if line.startswith("Encounter/")]
    assert '"gender": "female"' in transformed(cli, site).out
    message = site / "a08.hl7"
    text = block("hl7").replace("ADT^A08", "ADT^A31").replace("PV1|1|O", "PV1|1|T")
    message.write_text(text, encoding="utf-8")
    assert explained(cli, site) == ["message 1 would be filtered: training patients"]
