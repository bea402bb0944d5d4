"""`chartgate worklist list | roster`."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from chartgate.clock import utc_now
from chartgate.model.audit import AuditEvent
from chartgate.model.handoff import Cause, Handoff, HandoffItem, ItemState
from chartgate.store.database import open_database
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import ProposalStore
from tests.cli.conftest import Cli, Done
from tests.conftest import MASTERS, TENANT
from tests.store.test_proposals import proposal

ROSTER = """
zone: Europe/Berlin
holidays: [2026-12-25]
worklists:
  front-desk:
    on_call:
      - {days: [mon, tue, wed, thu, fri], from: "07:00", to: "18:00", person: dana}
      - {worklist: night-desk}
    escalate: [{after: 10m, to: scheduler}, {after: 90s, to: charge-nurse}]
"""


@pytest.fixture
def at_site(folder: Path, cli: Cli) -> Cli:
    """A command on what `chartgate init` writes, with a roster."""
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "roster.yaml").write_text(ROSTER, encoding="utf-8")
    charter = folder / "charters" / "clinic-booking.yaml"
    text = charter.read_text(encoding="utf-8")
    otherwise = "{handoff: front-desk, within: 30m, below: 0.60}"
    assert otherwise in text
    charter.write_text(text.replace(otherwise, otherwise[:-1] + ", worklists: [night-desk]}"))

    def run(*words: str | Path, stdin: str = "") -> Done:
        return cli("--config", folder / "chartgate.toml", *words, stdin=stdin)

    return run


@pytest.mark.parametrize(
    ("at", "goes_to"),
    [
        ("2026-11-20T10:00+01:00", "front-desk, dana first"),
        ("2026-11-20T18:00+01:00", "night-desk"),
        ("2026-11-20T16:59Z", "front-desk, dana first"),
        ("2026-12-25T10:00+01:00", "night-desk"),
    ],
)
def test_roster_says_who_has_each_worklist_at_that_moment(
    at_site: Cli, at: str, goes_to: str
) -> None:
    done = at_site("worklist", "roster", "--at", at)
    assert done.code == 0
    assert (
        f"clinic-booking/book: {goes_to}; after 10 min to scheduler; after 1.5 min to " in done.out
    )
    assert "charge-nurse (stays: the charter does not name it)" in done.out
    row = at_site("worklist", "roster", "--at", at, "--json").json["actions"][0]
    assert row["goes_to"] == goes_to
    assert [step["allowed"] for step in row["steps"]] == [True, False]


@pytest.mark.parametrize("at", ["tomorrow", "2026-11-20T10:00"])
def test_roster_of_no_moment_is_refused(at_site: Cli, at: str) -> None:
    done = at_site("worklist", "roster", "--at", at)
    assert done.code == 2
    assert "2026-12-25T03:00+01:00" in done.err


def test_check_says_which_names_of_the_roster_lead_nowhere(at_site: Cli, folder: Path) -> None:
    done = at_site("policy", "check")
    assert done.code == 0
    assert "no charter names the worklist charge-nurse" in done.out
    (folder / "policies" / "roster.yaml").write_text("zone: Nowhere\nworklists: {}\n")
    for command in (("policy", "check"), ("config", "check")):
        done = at_site(*command)
        assert done.code != 0
        assert "policies/roster.yaml: zone must be one that is known" in done.out + done.err


def test_list_without_any_says_so(at_feed: Cli) -> None:
    done = at_feed("worklist", "list")
    assert (done.code, done.out.strip()) == (0, "nothing waits for staff")


async def put(database_url: str) -> tuple[Handoff, Handoff]:
    """Two handoffs: one overdue, whose Task could not be put into the EHR, and one that is due."""
    database = await open_database(database_url, tenant=TENANT, masters=MASTERS)
    store, now = HandoffStore(database), utc_now()
    made = []
    for minutes in (-5, 30):
        about = proposal(patient="Patient/7")
        handoff = Handoff(
            id=str(uuid4()),
            proposal=about.id,
            worklist="front-desk",
            site=about.site,
            reason="the AI's confidence is below what the charter asks for",
            cause=Cause.LOW_CONFIDENCE,
            opened_at=now - timedelta(minutes=35),
            due_at=now + timedelta(minutes=minutes),
            assigned_to="dana",
        )
        item = HandoffItem(
            handoff=handoff.id, connection="north-ehr", kind="task", state=ItemState.WAITING
        )
        event = AuditEvent(recorded=now, action="handoff.open", agent="process:test")
        async with database.change(event) as transaction:
            await ProposalStore(database).insert(transaction, about, idempotency_key=None)
            await store.insert(transaction, handoff, item)
        made.append(handoff)
    await database.close()
    return made[0], made[1]


def test_list_shows_what_waits_the_most_urgent_first_and_nothing_of_a_chart(
    at_feed: Cli, database_url: str
) -> None:
    late, later = asyncio.run(put(database_url))
    done = at_feed("worklist", "list")
    assert done.code == 1  # something is overdue
    first, second = done.out.splitlines()
    assert first.startswith(f"{late.id}  overdue ")
    assert "front-desk     low-confidence open: dana first; Task waiting" in first
    assert second.startswith(f"{later.id}  due ")
    assert "Patient/7" not in done.out
    assert [r["id"] for r in at_feed("worklist", "list", "--overdue", "--json").json] == [late.id]
    assert at_feed("worklist", "list", "--worklist", "elsewhere").code == 0


def test_check_says_where_tasks_could_be_put_nowhere(at_site: Cli, folder: Path) -> None:
    charter = folder / "charters" / "clinic-booking.yaml"
    text = charter.read_text(encoding="utf-8").replace("below: 0.60,", "below: 0.60, as: task,")
    charter.write_text(text, encoding="utf-8")
    assert "nothing that Tasks stand in" not in at_site("policy", "check").out
    charter.write_text(text.replace("north-ehr}", "north-adt}"), encoding="utf-8")
    done = at_site("policy", "check")
    assert "clinic-booking/book: north-adt is nothing that Tasks stand in" in done.out
