"""The probe finds out what a system really does (promise A8), and leaves nothing behind."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.demo.hospital.server import Hospital
from chartgate.errors import SourceUnreachable, WriteRefused
from chartgate.model.verdict import Verdict
from chartgate.model.write import Change, Write
from chartgate.testing.builders import task

Opener = Callable[..., Awaitable[FhirR4]]
Server = Callable[..., Awaitable[str]]


def quiet(verdict: Verdict) -> None:
    """Nobody watches."""


async def failing_lines(ehr: FhirR4) -> set[str]:
    return {verdict.line for verdict in await ehr.probe(quiet) if not verdict.holds}


def standing(hospital: Hospital) -> list[str]:
    return [
        reference
        for reference, version in hospital.chart.current.items()
        if version.resource is not None and version.resource["status"] != "entered-in-error"
    ]


async def test_honest_system_holds_every_line_and_each_is_told(
    hospital: Hospital, ehr: FhirR4
) -> None:
    told: list[Verdict] = []
    verdicts = await ehr.probe(told.append)
    assert [verdict.line for verdict in verdicts] == list(PROBED)
    assert verdicts[0].detail == "a Task was made, then read", "it says on what it was tried"
    assert not [verdict for verdict in verdicts if not verdict.holds]
    assert {verdict.line for verdict in told} == set(PROBED)
    assert not standing(hospital)


@pytest.mark.parametrize(
    ("fault", "value", "interactions", "lost"),
    [
        ("ignore_if_match", True, ("update",), {"if_match_on_put"}),
        ("ignore_if_match", True, ("patch",), {"if_match_on_patch"}),
        ("ignore_if_match", True, ("delete",), {"if_match_on_delete"}),
        (
            "ignore_if_match",
            True,
            ("transaction",),
            {"if_match_in_transaction", "transaction_atomic", "delete_in_transaction"},
        ),
        (
            "ignore_if_none_exist",
            True,
            (),
            {"if_none_exist", "if_none_exist_in_transaction"},
        ),
        ("change_on_save", {"strip_marker": True}, (), {"marker_survives"}),
        ("stale_reads", {"versions": 1}, (), {"if_match_on_put", "if_match_on_patch"}),
        ("no_etag", "all", (), {"etag_present", "if_match_on_put"}),
        ("down", "503", ("transaction",), {"transaction_atomic", "patch_in_transaction"}),
        ("down", "503", ("patch",), {"if_match_on_patch", "patch_test"}),
        ("down", "503", ("history",), {"history"}),
    ],
)
async def test_system_that_lies_is_found_out(
    fault: str,
    value: Any,
    interactions: tuple[str, ...],
    lost: set[str],
    hospital: Hospital,
    ehr: FhirR4,
) -> None:
    hospital.faults.switch(fault, value, interactions=interactions)
    assert lost <= await failing_lines(ehr)


async def test_verdicts_found_on_a_liar_keep_its_writes_off(
    hospital: Hospital, ehr: FhirR4
) -> None:
    hospital.faults.switch("ignore_if_match")
    verdicts = await ehr.probe(quiet)
    ehr.adopt({verdict.line: (verdict.holds, verdict.detail) for verdict in verdicts})
    update = Change(
        interaction="update",
        resource_type="Task",
        reference="Task/1",
        resource={**task(), "id": "1"},
        if_match="1",
    )
    with pytest.raises(WriteRefused, match="if_match_on_put"):
        await ehr.commit(Write(marker="m", changes=(update,)))


async def test_what_cannot_be_deleted_is_left_as_an_error(hospital: Hospital, ehr: FhirR4) -> None:
    hospital.faults.switch("down", "503", interactions=["delete"])
    assert {"delete", "if_match_on_delete"} <= await failing_lines(ehr)
    assert hospital.chart.current
    assert not standing(hospital)


async def test_probe_that_breaks_off_cleans_up_all_the_same(
    hospital: Hospital, open_ehr: Opener
) -> None:
    ehr = await open_ehr(hospital.fhir_url, retries=0)
    told: list[str] = []

    def break_off(verdict: Verdict) -> None:
        told.append(verdict.line)
        if verdict.line == "if_match_on_put":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await ehr.probe(break_off)
    assert told
    assert hospital.chart.current
    assert not standing(hospital)


async def test_create_whose_answer_got_lost_is_cleaned_up_too(
    hospital: Hospital, ehr: FhirR4
) -> None:
    hospital.faults.switch("reset_after_applying", interactions=["create"], times=3)
    await ehr.probe(quiet)
    assert len(hospital.chart.current) > 3
    assert not standing(hospital)


async def test_dead_system_has_no_verdicts(hospital: Hospital, ehr: FhirR4) -> None:
    await hospital.stop()
    with pytest.raises(SourceUnreachable):
        await ehr.probe(quiet)


@pytest.mark.parametrize("status", [403, 405, 422])
async def test_system_that_lets_nothing_be_created_has_that_as_its_verdict(
    status: int, open_ehr: Opener, serve: Server
) -> None:
    """A definite no is an answer: it is stored, and takes rights away that were there before."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status)

    ehr = await open_ehr(await serve(handler))
    verdicts = {verdict.line: verdict for verdict in await ehr.probe(quiet)}
    assert f"a Task could not be created: HTTP {status}" in verdicts["create"].detail
    assert {line for line, verdict in verdicts.items() if verdict.holds} <= {
        "wait_told",
        "clock_agrees",
    }
    ehr.adopt({line: (verdict.holds, verdict.detail) for line, verdict in verdicts.items()})
    assert not any(right.on for right in ehr.write_rights())
