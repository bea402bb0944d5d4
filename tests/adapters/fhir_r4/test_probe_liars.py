"""Systems that lie: the probe finds each out, and then its writes are off, with the reason.

Each liar is the sample hospital with one fault. It goes on lying while the writes are tried.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.demo.hospital.server import Hospital
from chartgate.errors import ConfigError, Throttled, WriteRefused
from chartgate.model.resource import Copy
from chartgate.testing.builders import task
from tests.adapters.fhir_r4.dressed import KINDS, Opener, current, probed, quiet, write_of

ALL = frozenset([*KINDS, *(f"{kind}, several together" for kind in KINDS)])
TOGETHER = frozenset(kind for kind in ALL if "together" in kind)


@dataclass(frozen=True, kw_only=True)
class Liar:
    """One way to lie, the lines that it breaks, and the kinds of write that it must lose."""

    name: str
    faults: Mapping[str, Any]
    lines: frozenset[str]
    off: frozenset[str] = ALL
    interactions: tuple[str, ...] = field(default=())


LIARS = (
    Liar(
        name="takes a stale If-Match, and says 200",
        faults={"ignore_if_match": True},
        lines=frozenset({"if_match_on_put", "if_match_on_patch", "if_match_in_transaction"}),
        off=ALL - {"create", "patch", "create, several together", "patch, several together"},
    ),
    Liar(
        name="says 200 and 201, and stores nothing",
        faults={"forget_writes": True},
        lines=frozenset({"create"}),
    ),
    Liar(
        name="stores creates, and forgets changes",
        faults={"forget_writes": True},
        interactions=("update", "patch", "transaction"),
        lines=frozenset({"if_match_on_put", "if_match_on_patch", "transaction_atomic"}),
        off=TOGETHER | {"update", "patch"},
    ),
    Liar(
        name="gives the same ETag after a change",
        faults={"frozen_etag": True},
        lines=frozenset({"etag_present"}),
    ),
    Liar(
        name="creates again, whatever If-None-Exist says",
        faults={"ignore_if_none_exist": True},
        lines=frozenset({"if_none_exist", "if_none_exist_race", "if_none_exist_in_transaction"}),
        off=frozenset({"create", "create, several together"}),
    ),
    Liar(
        name="lets two creates race",
        faults={"race_s": 0.02},
        lines=frozenset({"if_none_exist_race"}),
        off=frozenset({"create"}),
    ),
    Liar(
        name="applies a half of a transaction that it refuses",
        faults={"keep_half": True},
        lines=frozenset({"transaction_atomic"}),
        off=TOGETHER,
    ),
    Liar(
        name="drops the identifier that marks our creates",
        faults={"change_on_save": {"strip_marker": True}},
        lines=frozenset({"marker_survives", "stored_as_sent"}),
    ),
    Liar(
        name="changes a value on save",
        faults={"change_on_save": {"set": {"/priority": "stat"}}},
        lines=frozenset({"stored_as_sent"}),
    ),
    Liar(
        name="drops an element on save",
        faults={"change_on_save": {"drop": ["/input"]}},
        lines=frozenset({"stored_as_sent"}),
    ),
    Liar(
        name="changes a value on update alone",
        faults={"change_on_save": {"set": {"/priority": "stat"}}},
        interactions=("update",),
        lines=frozenset({"stored_as_sent"}),
    ),
    Liar(
        name="reads what was seconds ago",
        faults={"stale_reads": {"seconds": 1.5}},
        lines=frozenset({"reads_catch_up", "read_your_writes"}),
    ),
    Liar(
        name="says 304 to everything",
        faults={"always_304": True},
        lines=frozenset({"unmodified_is_true"}),
    ),
)


async def found_out(liar: Liar, hospital: Hospital, open_ehr: Opener) -> FhirR4:
    """An adapter that acts by what the probe found."""
    for fault, value in liar.faults.items():
        hospital.faults.switch(fault, value, interactions=liar.interactions)
    ehr = await open_ehr(hospital.fhir_url, dialect="sample-hospital", verdicts={}, retries=0)
    verdicts = await probed(ehr)
    failing = {line for line, verdict in verdicts.items() if not verdict.holds}
    assert liar.lines <= failing
    return ehr


def test_there_are_eight_liars_and_more() -> None:
    assert len({liar.name for liar in LIARS}) == len(LIARS) >= 8


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.name)
async def test_liar_is_found_out_and_its_writes_are_off_with_the_reason(
    liar: Liar, hospital: Hospital, open_ehr: Opener
) -> None:
    for number in ("1", "2"):
        hospital.edit({**task("first"), "id": number})
    ehr = await found_out(liar, hospital, open_ehr)
    rights = {right.kind: right for right in ehr.write_rights()}
    assert liar.off <= {kind for kind, right in rights.items() if not right.on}
    before = len(hospital.journal.effects)
    for kind in sorted(liar.off):
        interaction, _, together = kind.partition(", ")
        copies = [await seen(ehr, hospital, n) for n in (("1", "2") if together else ("1",))]
        with pytest.raises(WriteRefused, match="are off") as caught:
            await ehr.commit(write_of(interaction, *copies, marker="m-1"))
        assert "`chartgate probe north-ehr`" in str(caught.value)
        why = next(line for line in rights[kind].sentence.split() if line.endswith(":"))
        assert not rights[kind].on
        assert why.rstrip(":") in str(caught.value), "it names the line that failed"
    assert len(hospital.journal.effects) == before, "nothing was sent"


async def seen(ehr: FhirR4, hospital: Hospital, number: str) -> Copy:
    """A copy as the adapter reads it; it lets go of If-None-Match where 304 says nothing."""
    return await current(ehr, f"Task/{number}")


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.name)
async def test_system_that_mends_its_ways_gets_its_writes_back(
    liar: Liar, hospital: Hospital, open_ehr: Opener
) -> None:
    ehr = await found_out(liar, hospital, open_ehr)
    hospital.faults.clear()
    await probed(ehr)
    assert all(right.on for right in ehr.write_rights())


async def test_conditional_reads_are_left_out_where_304_says_nothing(
    hospital: Hospital, open_ehr: Opener
) -> None:
    hospital.edit({**task("first"), "id": "1"})
    hospital.faults.switch("always_304")
    ehr = await open_ehr(hospital.fhir_url, verdicts={}, retries=0)
    await probed(ehr)
    hospital.edit({**task("second"), "id": "1"})
    again = await ehr.read("Task/1", if_none_match="1")
    assert isinstance(again, Copy)
    assert again.version == "2"


async def test_strong_etags_are_sent_back_as_they_came(
    hospital: Hospital, open_ehr: Opener
) -> None:
    """No lie, but a habit: a weak If-Match would never hold there (RFC 9110, 13.1.1)."""
    hospital.edit({**task("first"), "id": "1"})
    hospital.faults.switch("strong_etags")
    ehr = await open_ehr(hospital.fhir_url, verdicts={}, retries=0)
    verdicts = await probed(ehr)
    assert not verdicts["etag_weak"].holds
    assert verdicts["if_match_on_put"].holds, verdicts["if_match_on_put"].detail
    await ehr.commit(write_of("update", await current(ehr, "Task/1"), marker="m-1"))
    assert hospital.resource("Task/1")["description"] == "changed"


async def test_small_lag_is_measured_and_waited_for(hospital: Hospital, open_ehr: Opener) -> None:
    hospital.faults.switch("stale_reads", {"seconds": 0.04})
    ehr = await open_ehr(hospital.fhir_url, verdicts={}, retries=0)
    verdicts = await probed(ehr)
    assert not verdicts["read_your_writes"].holds
    assert verdicts["read_your_writes"].detail.endswith(" ms")
    assert verdicts["reads_catch_up"].holds
    assert verdicts["if_match_on_put"].holds, "the lag is not taken for a lie"


async def test_clock_that_is_off_is_told_in_seconds(hospital: Hospital, open_ehr: Opener) -> None:
    hospital.faults.switch("clock_skew_s", 90)
    ehr = await open_ehr(hospital.fhir_url, verdicts={}, retries=0)
    verdict = (await probed(ehr))["clock_agrees"]
    assert not verdict.holds
    assert verdict.detail in ("its clock is 89 s ahead of ours", "its clock is 90 s ahead of ours")
    assert all(right.on for right in ehr.write_rights()), "a clock guards nothing"


@pytest.mark.parametrize(
    ("setting", "holds"), [({"retry_after_s": 1}, True), ({"rate_limit_s": 1}, True), ({}, False)]
)
async def test_throttling_is_noted_waited_out_and_met_without_a_storm(
    setting: dict[str, int], holds: bool, hospital: Hospital, open_ehr: Opener
) -> None:
    hospital.faults.switch("throttle", setting, interactions=["update"], times=1)
    ehr = await open_ehr(hospital.fhir_url, verdicts={}, retries=0)
    verdicts = {verdict.line: verdict for verdict in await ehr.probe(quiet)}
    assert verdicts["wait_told"].holds is holds
    assert verdicts["wait_told"].detail.startswith("429s: ")
    assert verdicts["if_match_on_put"].holds, "it went on after the wait"
    assert sum(seen.status == 429 for seen in hospital.journal.requests) == 1, "once is enough"


async def test_text_of_a_system_does_not_get_into_a_verdict(
    hospital: Hospital, open_ehr: Opener
) -> None:
    """An element that it invents could be called anything, and verdicts are shown to people."""
    odd = "/Mrs Example <b>1950"
    hospital.faults.switch("change_on_save", {"set": {odd: "x"}})
    ehr = await open_ehr(hospital.fhir_url, verdicts={}, retries=0)
    verdict = (await probed(ehr))["stored_as_sent"]
    assert not verdict.holds
    assert "an element that FHIR does not have" in verdict.detail
    assert "Example" not in verdict.detail


async def test_verdict_says_where_the_dialect_has_it_otherwise(
    hospital: Hospital, open_ehr: Opener
) -> None:
    ehr = await open_ehr(hospital.fhir_url, dialect="medplum", verdicts={}, retries=0)
    verdicts = await probed(ehr)
    assert verdicts["if_match_on_patch"].holds
    assert verdicts["if_match_on_patch"].detail.endswith("its dialect says that it does not hold")
    assert "dialect" not in verdicts["if_match_on_put"].detail


@pytest.mark.parametrize(
    ("content", "pointer", "sentence"),
    [
        ("{", "/description", "cannot be read as JSON"),
        ("[]", "/description", "must hold one FHIR resource"),
        ("{}", "/description", "it has no resourceType"),
        ('{"resourceType":"Task","id":"1"}', "/description", "it has an id"),
        ('{"resourceType":"Task"}', "/description", "it has no text at /description"),
        ('{"resourceType":"Task","note":[{}]}', "/note", "is no text"),
    ],
)
async def test_sample_that_cannot_be_probed_with_is_refused_at_the_start(
    content: str, pointer: str, sentence: str, open_ehr: Opener, tmp_path: Path
) -> None:
    (tmp_path / "probe.json").write_text(content)
    with pytest.raises(ConfigError, match=sentence):
        await open_ehr("http://127.0.0.1:1/fhir", probe_file="probe.json", probe_text=pointer)


async def test_sample_that_is_not_there_is_refused_at_the_start(open_ehr: Opener) -> None:
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        await open_ehr("http://127.0.0.1:1/fhir", probe_file="none.json")


async def test_what_a_site_knows_to_change_on_save_can_be_left_out_of_the_comparison(
    hospital: Hospital, open_ehr: Opener
) -> None:
    hospital.faults.switch("change_on_save", {"set": {"/priority": "stat"}})
    ehr = await open_ehr(
        hospital.fhir_url, verdicts={}, retries=0, changes_on_save="meta.author priority"
    )
    assert (await probed(ehr))["stored_as_sent"].holds
    assert all(right.on for right in ehr.write_rights())


async def test_wait_that_is_too_long_for_a_probe_ends_it_at_once_and_without_a_storm(
    hospital: Hospital, open_ehr: Opener
) -> None:
    hospital.faults.switch("throttle", {"retry_after_s": 3600}, interactions=["update"])
    ehr = await open_ehr(hospital.fhir_url, verdicts={}, retries=0, throttle_cap_s=7200.0)
    with pytest.raises(Throttled) as caught:
        await ehr.probe(quiet)
    assert caught.value.retry_after_s > 3500
    assert sum(seen.status == 429 for seen in hospital.journal.requests) == 1
