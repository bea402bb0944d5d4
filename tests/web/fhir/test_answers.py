"""What goes with an answer in its headers."""

from datetime import UTC, datetime

import pytest

from chartgate.flows.reads import Answer
from chartgate.web.fhir.answers import respond


@pytest.mark.parametrize("not_modified", [False, True])
@pytest.mark.parametrize("notice", ["", "42 CFR part 2 prohibits … (Consent/1 covers SUD)"])
def test_notice_goes_with_the_answer_that_needs_it(notice: str, not_modified: bool) -> None:
    answer = Answer(
        body=b"{}",
        etag="",
        as_of=datetime(2026, 6, 1, tzinfo=UTC),
        interaction="i",
        not_modified=not_modified,
        decision="d",
        stale=False,
        notice=notice,
    )
    sent = respond(answer).headers.get("chartgate-notice")
    assert sent == (notice.replace("…", "?") or None)
