"""Sample hospitals that wear a dialect, what the probe finds there, and writes of each kind."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.adapters.fhir_r4.dialect import load_dialect
from chartgate.demo.hospital.dress import load_dress
from chartgate.demo.hospital.server import Hospital, running_hospital
from chartgate.model.resource import Copy
from chartgate.model.verdict import Verdict, Verdicts
from chartgate.model.write import Change, Write
from chartgate.testing.builders import task
from chartgate.testing.conformance_bench import creation

Opener = Callable[..., Awaitable[FhirR4]]
OFFERED = ("creates", "updates")  # which types may be written: tried apart, by `Task` otherwise
KINDS = ("create", "update", "patch", "delete")


@asynccontextmanager
async def wearing(name: str, *, without: tuple[str, ...] = ()) -> AsyncIterator[Hospital]:
    """A hospital in the dress of a dialect, less some lines of it."""
    async with running_hospital() as hospital:
        hospital.app.dress = load_dress(name, without=without)
        yield hospital


def ignored_here(name: str) -> tuple[str, ...]:
    """Lines to leave out so that the probe can get to the others: what may be created, unless the
    dialect says that nothing can."""
    return () if load_dialect(name).says("create") is False else OFFERED


def quiet(verdict: Verdict) -> None:
    """Nobody watches."""


def adopted(verdicts: tuple[Verdict, ...]) -> Verdicts:
    """Verdicts in the form that an adapter acts by."""
    return {verdict.line: (verdict.holds, verdict.detail) for verdict in verdicts}


async def probed(ehr: FhirR4) -> dict[str, Verdict]:
    """What the probe finds; the adapter acts by it from now on."""
    verdicts = await ehr.probe(quiet)
    ehr.adopt(adopted(verdicts))
    return {verdict.line: verdict for verdict in verdicts}


async def current(ehr: FhirR4, reference: str) -> Copy:
    """The copy that stands."""
    copy = await ehr.read(reference)
    assert isinstance(copy, Copy)
    return copy


def change_of(kind: str, copy: Copy) -> Change:
    """A change of one kind to a Task as it was read."""
    if kind == "create":
        return creation(task("made"))
    resource: dict[str, Any] | None = None
    patch: tuple[dict[str, Any], ...] = ()
    if kind == "update":
        resource = {**orjson.loads(copy.body), "description": "changed"}
    if kind == "patch":
        patch = ({"op": "replace", "path": "/description", "value": "changed"},)
    return Change(
        interaction=kind,  # type: ignore[arg-type]
        resource_type="Task",
        reference=copy.reference,
        resource=resource,
        patch=patch,
        if_match=copy.version,
    )


def write_of(kind: str, *copies: Copy, marker: str) -> Write:
    """One write with a change of that kind for each copy."""
    return Write(marker=marker, changes=tuple(change_of(kind, copy) for copy in copies))
