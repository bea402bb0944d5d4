"""docs/reference/requirements.md: every line is there, and every name in it leads somewhere."""

import argparse
import re
from pathlib import Path

import pytest

from chartgate.cli import build_parser

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "requirements.md"
LINES = 73
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
QUOTED = re.compile(r"`([^`]+)`")
PATH = re.compile(r"(?:tests|docs|src|tools|benchmarks)/[\w./\-]+")

ROWS = ROW.findall(PAGE.read_text(encoding="utf-8"))


def test_each_line_is_there_once_in_order() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, LINES + 1))


@pytest.mark.parametrize(("number", "what", "shown"), ROWS, ids=[row[0] for row in ROWS])
def test_line_names_evidence_that_exists_or_says_what_is_missing(
    number: str, what: str, shown: str
) -> None:
    """A test by its file and name, a file, or a command; without any of them, a gap."""
    names = [name for name in QUOTED.findall(shown) if is_checked(name)]
    assert names or "gap:" in shown
    for name in names:
        check(name)


def is_checked(name: str) -> bool:
    """Words of the page in code style that are no evidence, such as `auto`, are not."""
    return bool(PATH.match(name)) or name.startswith("chartgate ")


def check(name: str) -> None:
    """Raises where it leads nowhere."""
    if name.startswith("chartgate "):
        check_command(name.split()[1:])
        return
    path, _, test = name.partition("::")
    assert (ROOT / path).is_file(), f"there is no {path}"
    if test:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"def {test}\(", source), f"{path} has no {test}"
    elif path.startswith("tests/") and Path(path).name.startswith("test_"):
        assert "def test_" in (ROOT / path).read_text(encoding="utf-8")


def check_command(words: list[str]) -> None:
    parser: argparse.ArgumentParser = build_parser()
    for word in words:
        choices = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        assert choices, f"nothing stands below {word}"
        assert word in choices[0].choices, f"there is no command {' '.join(words)}"
        parser = choices[0].choices[word]
