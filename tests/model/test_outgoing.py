"""States and waits of outgoing messages."""

import itertools

import pytest

from chartgate.model.outgoing import (
    MEANINGS,
    OUTGOING_TRANSITIONS,
    Draft,
    Meaning,
    OutgoingStatus,
    retry_delay_s,
)


def test_every_status_has_its_row_and_only_ends_lead_nowhere() -> None:
    assert set(OUTGOING_TRANSITIONS) == set(OutgoingStatus)
    ends = {status for status, after in OUTGOING_TRANSITIONS.items() if not after}
    assert ends == {OutgoingStatus.FAILED}
    assert OutgoingStatus.QUEUED not in set().union(*OUTGOING_TRANSITIONS.values())


def test_each_code_of_table_0008_has_one_meaning() -> None:
    assert {code for code, meaning in MEANINGS.items() if meaning is Meaning.TAKEN} == {"AA", "CA"}
    assert set(MEANINGS) == {a + b for a, b in itertools.product("AC", "AER")}


@pytest.mark.parametrize(
    ("failures", "share", "delay_s"),
    [(1, 1.0, 1.0), (2, 1.0, 2.0), (9, 1.0, 256.0), (10, 1.0, 300.0), (10_000, 1.0, 300.0),
     (3, 0.5, 2.0), (1, 0.0, 0.1), (10, 0.0, 0.1)],
)  # fmt: skip
def test_wait_doubles_to_its_cap_with_full_jitter_and_is_never_none(
    failures: int, share: float, delay_s: float
) -> None:
    assert retry_delay_s(failures, base_s=1.0, cap_s=300.0, share=share) == delay_s


@pytest.mark.parametrize("control_id", ["", "x" * 21, "a|b", "a\\b", "a b", "é"])
def test_control_id_that_could_need_an_escape_is_none(control_id: str) -> None:
    with pytest.raises(AssertionError, match="control id"):
        Draft(destination="lab", control_id=control_id, cause="Message/1", raw=b"")
