"""`chartgate demo` becomes `python -m chartgate.demo`."""

import os
import sys
from pathlib import Path

import pytest

from chartgate.cli import build_parser
from chartgate.cli.demo import run_demo


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        ([], ["--folder", "var/demo"]),
        (["--folder", "x"], ["--folder", "x"]),
        (
            ["--bundles", "b", "--messages", "m"],
            ["--folder", "var/demo", "--bundles", "b", "--messages", "m"],
        ),
    ],
)
def test_demo_passes_on_what_it_was_told(
    words: list[str], passed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: became.append(command))
    run_demo(build_parser("demo").parse_args(["demo", *words]))
    assert became == [[sys.executable, "-m", "chartgate.demo", *passed]]
    assert Path(sys.executable).is_absolute()
