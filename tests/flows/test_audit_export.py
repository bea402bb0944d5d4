"""The audit as files: whole, resumable, and the same however often it was interrupted."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from chartgate.errors import Denied, Invalid
from chartgate.flows import audit_export
from chartgate.flows.audit_export import Form, export
from chartgate.formats.r4_structure import is_well_formed
from chartgate.model.audit import leaf_bytes, read_leaf
from chartgate.model.principal import Client, Process
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.ledgers import Ledger, open_ledger

WHO = Process(id="cli/test")


@pytest.fixture
async def ledger(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(database, clock, tmp_path) as opened:
        yield opened


async def test_lines_are_the_leaves_of_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    await ledger.grow(7)
    file = tmp_path / "audit.ndjson"
    assert await export(ledger.gate, WHO, file, form="ndjson") == 7
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == list(range(7))
    bodies = [orjson.dumps(line["event"], option=orjson.OPT_SORT_KEYS) for line in lines]
    assert [leaf_bytes(read_leaf(body), tenant="main") for body in bodies] == bodies
    assert [p.name for p in tmp_path.glob("audit.ndjson*")] == ["audit.ndjson"]


async def test_fhir_lines_and_bundle_hold_the_same_resources(
    ledger: Ledger, tmp_path: Path
) -> None:
    await ledger.grow(5)
    await export(ledger.gate, WHO, tmp_path / "a.ndjson", form="fhir")
    await ledger.sequence()
    lines = [orjson.loads(line) for line in (tmp_path / "a.ndjson").read_bytes().splitlines()]
    await export(ledger.gate, WHO, tmp_path / "b.json", form="bundle", until=ledger.clock())
    bundle = orjson.loads((tmp_path / "b.json").read_bytes())
    assert is_well_formed(bundle)
    assert all(map(is_well_formed, lines))
    assert [entry["resource"] for entry in bundle["entry"]][:5] == lines[:5]


async def test_an_empty_span_is_a_bundle_without_entries(ledger: Ledger, tmp_path: Path) -> None:
    await ledger.grow(2)
    early = ledger.clock().replace(year=2000)
    assert await export(ledger.gate, WHO, tmp_path / "b.json", form="bundle", until=early) == 0
    bundle = orjson.loads((tmp_path / "b.json").read_bytes())
    assert "entry" not in bundle
    assert is_well_formed(bundle)


@pytest.mark.parametrize("form", audit_export.FORMS)
async def test_an_export_that_was_interrupted_goes_on_to_the_same_file(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Form
) -> None:
    """Cut after each batch, with half a line written behind it."""
    monkeypatch.setattr(audit_export, "BATCH", 3)
    await ledger.grow(10)
    until = ledger.clock()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    await export(ledger.gate, WHO, whole, form=form, until=until)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in itertools.count():
        try:
            await export(
                ledger.gate,
                WHO,
                cut,
                form=form,
                until=until,
                progress=interrupt if number < 3 else None,
            )
            break
        except KeyboardInterrupt:
            with (tmp_path / "cut.part").open("ab") as file:
                file.write(b'{"half')
    assert number == 3
    assert cut.read_bytes() == whole.read_bytes()


async def test_a_file_that_is_there_is_never_written_over(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(Invalid, match="is there already"):
        await export(ledger.gate, WHO, tmp_path / "kept", form="fhir")
    with pytest.raises(Invalid, match="cannot be written"):
        await export(ledger.gate, WHO, tmp_path / "no" / "folder", form="fhir")
    assert (tmp_path / "kept").read_text() == "mine"


async def test_an_export_is_audited_and_agents_get_none(ledger: Ledger, tmp_path: Path) -> None:
    agent = Client(id="slot-picker", charter="clinic-booking")
    with pytest.raises(Denied):
        await export(ledger.gate, agent, tmp_path / "x", form="fhir")
    assert not list(tmp_path.glob("x*"))
    rows = await ledger.database.fetch(
        "SELECT agent, outcome FROM audit_event WHERE tenant = $1 AND action = 'audit.export'"
    )
    assert [(row["agent"], row["outcome"]) for row in rows] == [("client:slot-picker", "denied")]
