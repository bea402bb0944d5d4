"""`chartgate feed drift`: what an operator sees, and acknowledging."""

import argparse
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chartgate.cli import feed_drift
from chartgate.config import Config
from chartgate.errors import NotFound
from chartgate.gate import Gate
from chartgate.model.drift import DriftFinding, FeedKey

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FINDING = DriftFinding(
    id=7,
    feed=FeedKey("adt", "A|B", "ADT^A08"),
    position="PID-8",
    kind="new-code",
    detail="X",
    was="F, M",
    now="X",
    count=3,
    examples=(11, 12, 13),
    first_seen_at=AT,
    last_seen_at=AT,
)


class FakeFlow:
    """Stands for flows/drift, whose own tests have a store."""

    LISTED_MAX = 10

    def __init__(self) -> None:
        self.acknowledged: list[tuple[str, int]] = []
        self.open = [FINDING]

    async def findings(self, gate: Gate, **_: Any) -> tuple[DriftFinding, ...]:
        return tuple(self.open)

    async def finding(self, gate: Gate, number: int) -> DriftFinding:
        if number != FINDING.id:
            raise NotFound(f"there is no drift finding {number}")
        return FINDING

    async def acknowledge(self, gate: Gate, who: Any, number: int) -> DriftFinding:
        self.acknowledged.append((type(who).__name__, number))
        return FINDING


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeFlow:
    def with_store(config: Config, act: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        step = act(None)
        try:
            step.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waited for something")

    fake = FakeFlow()
    monkeypatch.setattr(feed_drift, "drift", fake)
    monkeypatch.setattr(feed_drift, "with_store", with_store)
    monkeypatch.setattr(feed_drift, "load_config", lambda _: Config(folder=tmp_path))
    return fake


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    parser.set_defaults(config=None)
    feed_drift.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["drift", *words])
    code: int = arguments.run(arguments)
    return code


def test_list_has_a_line_for_each_finding(
    flow: FakeFlow, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list") == 0
    line = "     7  adt A|B ADT^A08  new-code       PID-8     F, M -> X  (3 messages)\n"
    assert capsys.readouterr().out == line
    flow.open = [replace(FINDING, acknowledged_by="person:ada", acknowledged_at=AT)]
    run("list", "--all")
    assert capsys.readouterr().out.endswith("(3 messages, acknowledged by person:ada)\n")
    flow.open = []
    run("list")
    assert capsys.readouterr().out == "no schema drift\n"


def test_show_names_example_messages(flow: FakeFlow, capsys: pytest.CaptureFixture[str]) -> None:
    run("show", "7")
    assert "examples         11, 12, 13" in capsys.readouterr().out
    run("show", "7", "--json")
    shown = json.loads(capsys.readouterr().out)
    assert (shown["sender"], shown["examples"]) == ("A|B", [11, 12, 13])
    with pytest.raises(NotFound):
        run("show", "8")


def test_ack_is_done_by_the_operator_at_the_shell(
    flow: FakeFlow, capsys: pytest.CaptureFixture[str]
) -> None:
    run("ack", "7")
    assert flow.acknowledged == [("Process", 7)]
    assert capsys.readouterr().out.startswith("acknowledged:      7  adt")
