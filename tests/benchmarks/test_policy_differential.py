"""The engine against its oracle, on a small draw; benchmarks/policy_differential.py asks a
million. A differential that cannot fail is worth nothing, so broken engines must be found."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import policy_differential
from benchmarks.policy_differential import compare
from chartgate.model.decision import Request
from chartgate.policy import decide as decide_module
from chartgate.policy import questions
from chartgate.policy.cedar import Rulebook
from chartgate.policy.questions import Verdict
from tests.policy import reference

N = 6_000


@pytest.fixture(autouse=True)
def many_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small draw of questions is spread over more books than a million needs."""
    monkeypatch.setattr(policy_differential, "QUESTIONS_OF_WORLD", 100)


def test_engine_when_compared_with_the_oracle_then_nothing_differs() -> None:
    tally = compare(N, seed=20)
    assert tally.differences == []
    assert tally.asked == N
    assert all(count > N / 20 for count in tally.answers.values())
    assert len(tally.answers) == 3


def test_oracle_when_counted_then_it_is_under_60_lines() -> None:
    assert len(Path(reference.__file__).read_text("utf-8").splitlines()) < 60


def without_forbids(rulebook: Rulebook, request: Request) -> Verdict:
    return replace(questions.evaluate(rulebook, request), forbids=())


def without_guards(rulebook: Rulebook, request: Request) -> Verdict:
    verdict = questions.evaluate(rulebook, request)
    return replace(verdict, forbids=tuple(f for f in verdict.forbids if not f.endswith("?")))


def as_if_labelled(rulebook: Rulebook, request: Request) -> Verdict:
    return questions.evaluate(rulebook, replace(request, confidentiality="U"))


def as_if_preliminary(rulebook: Rulebook, request: Request) -> Verdict:
    return questions.evaluate(rulebook, replace(request, preliminary=True))


@pytest.mark.parametrize(
    "broken", [without_forbids, without_guards, as_if_labelled, as_if_preliminary]
)
def test_engine_when_it_is_broken_then_the_oracle_finds_it(
    broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide_module, "evaluate", broken)
    assert compare(N, seed=20).differences
