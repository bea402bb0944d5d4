"""`chartgate audit …` and `ledger rotate-key`, as an operator sees them."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chartgate.cli.session import with_store
from chartgate.config import load_config
from chartgate.flows import people
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from tests.cli.conftest import Cli

PASSWORD = "correct horse battery"


@pytest.fixture
def audited(folder: Path, database_url: str) -> Path:
    """A site with some events, on a store of its own; the config file."""
    file = folder / "chartgate.toml"
    text = file.read_text()
    assert "database_url" in text
    lines = [line for line in text.splitlines() if "database_url" not in line]
    place = lines.index("[store]") + 1 if "[store]" in lines else None
    if place is None:
        lines += ["[store]", f'database_url = "{database_url}"']
    else:
        lines.insert(place, f'database_url = "{database_url}"')
    file.write_text("\n".join(lines) + "\n")
    with_store(load_config(file), _filled)
    return file


async def _filled(gate: Gate) -> None:
    at = datetime.now(UTC) - timedelta(hours=3)
    events = [
        AuditEvent(
            recorded=at + timedelta(seconds=number),
            action="fhir.read",
            agent="client:slot-picker",
            patient="Patient/7" if number % 2 else "Patient/8",
            purpose="HRESCH",
            site="north-clinic",
            entities=(f"Slot/{number}",),
            outcome=Outcome.DENIED if number == 3 else Outcome.SUCCESS,
            reason="=1+1" if number == 3 else None,
        )
        for number in range(6)
    ]
    async with gate.database.change(*events):
        pass
    await people.add_person(gate, "pia", PASSWORD, ["privacy-officer"], ["north-clinic"])
    await people.add_person(gate, "sofia", PASSWORD, ["scheduler"], ["north-clinic"])


def test_search_prints_a_table_json_and_csv(audited: Path, cli: Cli) -> None:
    words = (
        "--config",
        audited,
        "audit",
        "search",
        "--patient",
        "Patient/7",
        "--action",
        "fhir.read",
    )
    shown = cli(*words)
    assert shown.code == 0
    head, *rows = shown.out.splitlines()
    assert head.split()[:4] == ["when", "number", "action", "outcome"]
    assert len(rows) == 3
    assert "client:slot-picker" in rows[0]
    found = cli(*words, "--json").json
    assert [event["entities"] for event in found["events"]] == [["Slot/5"], ["Slot/3"], ["Slot/1"]]
    table = list(csv.reader(io.StringIO(cli(*words, "--csv").out)))
    assert table[2][-1] == "'=1+1"  # never a formula
    page = cli(*words, "--count", "2")
    assert "more: --page " in page.err
    mark = page.err.partition("--page ")[2].split()[0]
    assert "Slot/1" in cli(*words, "--page", mark).out
    nothing = cli("--config", audited, "audit", "search", "--agent", "client:nobody")
    assert (nothing.code, "nothing of that" in nothing.out) == (0, True)


def test_search_says_what_makes_no_sense(audited: Path, cli: Cli) -> None:
    for words in (("--action", "fhir.raed"), ("--since", "soon"), ("--page", "zzz")):
        done = cli("--config", audited, "audit", "search", *words)
        assert done.code == 2
        assert done.err.startswith("chartgate: ")


def test_reports_are_printed_and_leave_their_events(audited: Path, cli: Cli) -> None:
    def run(*words: str) -> str:
        done = cli("--config", audited, "audit", *words)
        assert done.code == 0, done.err
        return done.out

    assert "research" in run("accounting", "Patient/7")
    assert "disclosures: 2" in run("accounting", "Patient/7")
    assert "client:slot-picker" in run("access", "Patient/7")
    assert "Patient/8" in run("breach", "--agent", "client:slot-picker", "--since", "1d")
    assert "unclassified" in run("denials", "--since", "1d", "--json")
    assert "look at" in run("review", "--since", "1d", "--until", "1s")
    left_out = run(
        "accounting", "Patient/7", "--suspend", "client:slot-picker", "--until", "30d",
        "--reason", "Sheriff, in writing",
    )  # fmt: skip
    assert "is left out until" in left_out
    assert "disclosures: 0" in run("accounting", "Patient/7")
    looked = json.loads(run("search", "--since", "1h", "--json"))
    actions = {event["action"] for event in looked["events"]}
    assert actions >= {
        "audit.accounting", "audit.access", "audit.breach", "audit.denials", "audit.review",
        "audit.suspend", "audit.search",
    }  # fmt: skip


def test_a_review_is_signed_with_the_password_of_somebody_who_may(audited: Path, cli: Cli) -> None:
    span = ("--since", "1d", "--until", "1h")
    words = ("--config", audited, "audit", "review", *span, "--sign-off")
    signed = cli(*words, "pia", stdin=f"{PASSWORD}\n")
    assert (signed.code, "signed off by pia" in signed.err) == (0, True)
    assert cli(*words, "pia", stdin="wrong password\n").code == 1
    assert cli(*words, "sofia", stdin=f"{PASSWORD}\n").code == 1
    seen = cli("--config", audited, "audit", "review", "--since", "2d", "--until", "1s")
    assert seen.err.count("signed off by person:pia") == 1


def test_export_and_feeds_and_rotation(audited: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "audit.ndjson"
    words = ("--config", audited, "audit", "export", "--format", "fhir", "--out")
    assert cli(*words, out, "--json").json["format"] == "fhir"
    assert cli(*words, out).code == 2
    assert "no [atna.NAME]" in cli("--config", audited, "audit", "feeds").out
    ledger = ("--config", audited, "ledger")
    before = cli(*ledger, "rotate-key", "--dry-run", "--json").json["old"]
    done = cli(*ledger, "rotate-key", "--json").json
    assert done["old"] == before != done["new"]
    verified = cli(*ledger, "verify", "--json")
    assert verified.json["holds"], verified.json
    exported = cli(*ledger, "export", tmp_path / "ledger", "--json").json
    assert exported["key"] == before


def test_accounting_that_was_given_is_shown_again_as_it_was(audited: Path, cli: Cli) -> None:
    given = json.loads(cli("--config", audited, "audit", "accounting", "Patient/7", "--json").out)
    id_ = given["id"]
    again = cli("--config", audited, "audit", "accounting", "--kept", id_)
    assert (again.code, json.loads(again.out)) == (0, given)
    for words in ((), ("Patient/7", "--kept", id_), ("--kept", "no-id")):
        done = cli("--config", audited, "audit", "accounting", *words)
        assert (done.code, done.err.startswith("chartgate: ")) == (2, True)
