"""The adapter as a whole: the conformance kit on the sample hospital over real sockets."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.demo.hospital.server import Hospital
from chartgate.model.ports import Probe, Sink, Source
from chartgate.model.resource import NotModified
from chartgate.testing.builders import task
from chartgate.testing.conformance import CHECKS, Check, Target

Opener = Callable[..., Awaitable[FhirR4]]
LOST = ("error_after_applying", "reset_after_applying")


def target(ehr: FhirR4, hospital: Hospital, fault: str = "reset_after_applying") -> Target:
    @asynccontextmanager
    async def lost_answers() -> AsyncIterator[None]:
        writes = ("create", "update", "patch", "transaction")
        value: Any = 502 if fault == "error_after_applying" else True
        hospital.faults.switch(fault, value, interactions=writes, times=1)
        yield
        hospital.faults.clear(fault)

    return Target(adapter=ehr, lost_answers=lost_answers)


async def test_adapter_has_the_ports_that_it_declares(ehr: FhirR4) -> None:
    assert isinstance(ehr, Source)
    assert isinstance(ehr, Sink)
    assert isinstance(ehr, Probe)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
async def test_sample_hospital_passes_the_conformance_kit(
    check: Check, ehr: FhirR4, hospital: Hospital
) -> None:
    await check.run(target(ehr, hospital))
    left = [v.resource for v in hospital.chart.current.values() if v.resource is not None]
    assert {resource["status"] for resource in left} <= {"entered-in-error"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
async def test_kit_passes_with_other_ways_to_write(
    check: Check, hospital: Hospital, open_ehr: Opener
) -> None:
    """A system like Medplum: patches by test, no delete, one match a page, search by POST."""
    lacking = {"if_match_on_patch", "if_match_on_delete"}
    verdicts = {line: (line not in lacking, "test") for line in PROBED}
    ehr = await open_ehr(hospital.fhir_url, verdicts=verdicts, retries=0, search_page_count=1)
    await check.run(target(ehr, hospital, "error_after_applying"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
async def test_kit_passes_where_patches_go_out_as_updates(
    check: Check, hospital: Hospital, open_ehr: Opener
) -> None:
    lacking = {"if_match_on_patch", "patch_test", "patch_in_transaction"}
    verdicts = {line: (line not in lacking, "test") for line in PROBED}
    ehr = await open_ehr(hospital.fhir_url, verdicts=verdicts, retries=0)
    await check.run(target(ehr, hospital))


@pytest.mark.parametrize(
    ("fault", "value", "interactions", "broken"),
    [
        ("ignore_if_match", True, ("update",), "stale_update_is_refused"),
        ("ignore_if_match", True, ("patch",), "stale_patch_is_refused"),
        ("keep_half", True, ("transaction",), "transaction_applies_all_or_nothing"),
        ("ignore_if_none_exist", True, (), "create_twice_with_one_marker_creates_once"),
        ("change_on_save", {"drop": ["/note"]}, (), "honest_write_shows_no_differences"),
        ("change_on_save", {"strip_marker": True}, (), "resolve_finds_what_was_applied"),
        ("stale_reads", {"versions": 1}, (), "update_makes_a_new_version"),
        ("stale_reads", {"versions": 1}, (), "stale_update_is_refused"),
        ("no_etag", "all", (), "update_makes_a_new_version"),
    ],
)
async def test_kit_finds_out_a_system_that_lies(
    fault: str,
    value: Any,
    interactions: tuple[str, ...],
    broken: str,
    ehr: FhirR4,
    hospital: Hospital,
) -> None:
    hospital.faults.switch(fault, value, interactions=interactions)
    check = next(check for check in CHECKS if check.name == broken)
    with pytest.raises(Exception) as caught:  # noqa: PT011, an AssertionError or our own refusal
        await check.run(target(ehr, hospital))
    assert type(caught.value).__module__ in ("builtins", "chartgate.errors"), caught.value


async def test_live_conditional_read_costs_little(ehr: FhirR4, hospital: Hospital) -> None:
    """CPU of this process, the hospital in it; the adapter's own share is measured apart."""
    hospital.edit({**task(), "id": "1"})
    count = 300
    started = time.process_time()
    for _ in range(count):
        assert isinstance(await ehr.read("Task/1", if_none_match="1"), NotModified)
    spent_s = (time.process_time() - started) / count
    assert spent_s < 0.002, f"{spent_s * 1e6:.0f} µs with the hospital's own share"
