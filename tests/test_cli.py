"""The command line as a whole: help, exit codes, and what becomes of an error nobody expected."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chartgate import cli
from chartgate.cli import COMMANDS, build_parser, main


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield child
                yield from parsers(child)


def test_registry_names_each_command_and_the_module_that_adds_it() -> None:
    (commands,) = [action for action in build_parser()._actions if isinstance(action.choices, dict)]
    assert list(commands.choices or ()) == list(COMMANDS)
    for command in COMMANDS:
        (alone,) = [
            action for action in build_parser(command)._actions if isinstance(action.choices, dict)
        ]
        assert command in (alone.choices or ())


def test_every_command_and_every_argument_says_what_it_is_for() -> None:
    for parser in parsers(build_parser()):
        if parser.get_default("run") is None:
            continue  # it only has verbs, of which each is looked at
        assert parser.description, f"{parser.prog} has no description"
        for action in parser._actions:
            assert action.help, f"{parser.prog}: {action.dest} has no help"


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_teaches(command: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*([command] if command else []), "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "usage: chartgate" in said
    assert command or "first steps:" in said


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ([], "required: COMMAND"),
        (["statsu"], "invalid choice: 'statsu'"),
        (["halt"], "required: --reason"),
        (["stage", "clinic-booking", "fulll"], "invalid choice: 'fulll'"),
        (["status", "--jsn"], "unrecognized arguments: --jsn"),
        (["proposals", "list", "--limit", "0"], "0 is not from 1 to 10000"),
        (["proposals", "list", "--limit", "many"], "invalid number value"),
        (["ledger", "prove", "-1"], "not from 0 to|unrecognized|expected|required"),
        (["halt", "--reason", "\udcff"], "an argument is not UTF-8 text"),
        (["--config", "nowhere.toml", "status"], "there is no nowhere.toml"),
        (["--config"], "expected one argument"),
    ],
)
def test_wrong_line_is_a_sentence_and_exit_code_2(
    line: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert any(part in said for part in sentence.split("|")), said


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyError("Canary, Ada"), 1, "a fault of its own, please report it: KeyError at test_cli"),
        (ExceptionGroup("g", [ValueError("Canary")]), 1, "ValueError at"),
        (OSError(28, "No space left on device", "/x"), 1, "No space left on device (/x)"),
        (RecursionError(), 1, "RecursionError"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_unexpected_error_is_told_by_kind_and_place_alone(
    error: BaseException,
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    with pytest.raises(SystemExit) as ended:
        main(["status"])
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert sentence in said
    assert "Canary" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("target", "code", "sentence"), [("pipe", 0, ""), ("/dev/full", 1, "No space left on device")]
)
def test_output_that_nobody_can_take_is_no_stack_trace(
    target: str, code: int, sentence: str
) -> None:
    if target == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        if not Path(target).exists():
            pytest.skip("this system has no /dev/full")
        writing = os.open(target, os.O_WRONLY)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "chartgate", "demo", "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
