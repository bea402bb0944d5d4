"""What `review` of a charter may say, what it comes to, and what contradicts itself."""

from typing import Any

import pytest

from chartgate.errors import ConfigError
from tests.flows.clinics import sample_charter

REVIEW = """    review:
      by: scheduler
      within: 15m
      auto: {min_confidence: 0.97, from_stage: full}
"""


def book(review: str) -> Any:
    return sample_charter("clinic-booking", change=[(REVIEW, f"    review: {{{review}}}\n")])


def test_what_is_left_out_asks_for_one_person_and_nothing_more() -> None:
    rule = book("by: scheduler, within: 15m").proposes["book"]
    assert (rule.review_people, rule.review_roles, rule.reviewers) == (1, (), ("scheduler",))
    assert (rule.review_acknowledge, rule.review_dwell_s, rule.review_seeds) == ((), 0.0, 0.0)


def test_roles_are_as_many_people_at_least() -> None:
    rule = book("by: scheduler, within: 15m, roles: [nurse, scheduler]").proposes["book"]
    assert (rule.review_people, rule.reviewers) == (2, ("scheduler", "nurse"))
    more = book("by: scheduler, within: 15m, people: 3, roles: [nurse, scheduler]")
    assert more.proposes["book"].review_people == 3


def test_all_of_it_is_read() -> None:
    text = "by: scheduler, within: 15m, people: 2, acknowledge: [start, end], dwell: 10s, seeds: 2%"
    rule = book(text).proposes["book"]
    assert rule.review_acknowledge == ("start", "end")
    assert (rule.review_dwell_s, rule.review_seeds) == (10.0, pytest.approx(0.02))


@pytest.mark.parametrize(
    ("review", "sentence"),
    [
        ("roles: [nurse, physician]", "roles: the role scheduler of by must be among them"),
        ("people: 1, roles: [nurse, scheduler]", "people: 2 roles need as many people"),
        ("people: 2, auto: {min_confidence: 0.9, from_stage: full}", "a rule cannot stand in"),
        ("roles: [scheduler, nurse], auto: {min_confidence: 0.9, from_stage: full}", "stand in"),
        ("acknowledge: [strat]", "has an element strat; did you mean start?"),
        ("acknowledge: [dosageInstruction]", "has an element dosageInstruction"),
        ("people: 0", "people"),
        ("people: 6", "people"),
        ("roles: []", "roles"),
        ("dwell: 0s", "dwell"),
        ("seeds: 21%", "seeds"),
        ("seeds: 0", "seeds"),
        ("seeds: 0.5", "seeds"),
        ("peple: 2", "there is no key peple"),
    ],
)
def test_what_contradicts_itself_is_refused_with_a_sentence(review: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        book(f"by: scheduler, within: 15m, {review}")
    assert sentence in str(refused.value)
