"""`chartgate policy`: check, explain, diff and test, as people see them."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Done

PSYCHIATRY = """@id("tenant/psychotherapy")
@sentence("notes of psychotherapy are not for AI")
forbid (principal is Client, action in [Action::"read", Action::"search"], resource)
when { context has sensitivities && context.sensitivities.contains("PSY") };
"""
DESK = """@id("north/no-edits")
@sentence("the front desk edits nothing here")
forbid (principal in Role::"frontdesk", action == Action::"edit", resource);
"""
CASES = """cases:
  - says: the picker reads slots
    client: slot-picker
    charter: clinic-booking
    action: read
    type: Slot
    site: north-clinic
    labels: []
    expect: permitted
    rule: clinic-booking/read/Slot
  - says: psychotherapy stays where it is
    client: slot-picker
    charter: clinic-booking
    action: read
    type: Patient
    site: north-clinic
    labels: [PSY]
    expect: refused
    rule: tenant/psychotherapy
"""


@pytest.fixture
def policies(folder: Path) -> Path:
    """A site with a policy of its own, and one of all sites."""
    own = folder / "policies" / "sites" / "north-clinic"
    own.mkdir(parents=True)
    (own / "desk.cedar").write_text(DESK)
    (folder / "policies" / "psychiatry.cedar").write_text(PSYCHIATRY)
    (folder / "policies" / "tests.yaml").write_text(CASES)
    return folder / "policies"


@pytest.fixture
def policy(cli: Cli, folder: Path, policies: Path) -> Any:
    def run(*words: str | Path) -> Done:
        return cli("--config", folder / "chartgate.toml", "policy", *words)

    return run


def test_check_names_each_forbid_and_what_looks_like_a_slip(policy: Any) -> None:
    done = policy("check")
    assert done.code == 0
    assert "north/no-edits: at north-clinic; the front desk edits nothing here" in done.out
    assert "tenant/psychotherapy: everywhere" in done.out
    assert (
        "names the Role frontdesk, which nothing else knows; did you mean front-desk?" in done.out
    )
    assert "3 charters, 2 forbids and label rules" in done.out
    value = policy("check", "--json").json
    assert [row["site"] for row in value["forbids"]] == [None, "north-clinic"]
    assert len(value["notes"]) == 1


def test_check_tells_the_mistakes_of_all_files_at_once(
    policy: Any, policies: Path, folder: Path
) -> None:
    (policies / "permits.cedar").write_text('@id("x") permit (principal, action, resource);')
    (policies / "labels.yaml").write_text("rulez: []\n")
    booking = folder / "charters" / "clinic-booking.yaml"
    booking.write_text(booking.read_text().replace("revision:", "revison:"))
    done = policy("check")
    assert done.code == 2
    for told in ("permits.cedar: x permits", "labels.yaml", "did you mean revision?"):
        assert told in done.err


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("hours.cedr", "policies/hours.cedr is nothing that is read there"),
        ("north-clinic/hours.cedar", "is nothing that is read there"),
        ("sites/hours.cedar", "is nothing that is read there"),
        ("sites/nroth-clinic/hours.cedar", "no charter has the site nroth-clinic; did you mean"),
    ],
)
def test_forbid_that_nobody_would_read_is_a_mistake(
    policy: Any, policies: Path, place: str, sentence: str
) -> None:
    """A rule that is silently not there protects nobody."""
    file = policies / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(PSYCHIATRY.replace("tenant/", "other/"))
    done = policy("check")
    assert done.code == 2
    assert sentence in done.err


def test_explain_says_in_one_sentence_what_decided_and_what_would_change_it(policy: Any) -> None:
    asked = ("--client", "slot-picker", "--site", "north-clinic")
    done = policy("explain", *asked, "--read", "Patient", "--label", "PSY")
    assert done.out == (
        "refused (rule tenant/psychotherapy): notes of psychotherapy are not for AI; it would be "
        "permitted if the resource had no restricting label, or without the policy "
        "tenant/psychotherapy\n"
    )
    done = policy("explain", *asked, "--read", "Observation")
    assert done.out.endswith("it would be permitted if the charter listed Observation\n")
    done = policy("explain", *asked[:2], "--site", "south", "--search", "Slot")
    assert "at the site north-clinic, or if the charter covered south" in done.out
    value = policy("explain", *asked, "--read", "Slot", "--json").json
    assert (value["permitted"], value["rules"]) == (True, ["clinic-booking/read/Slot"])


def test_explain_of_a_person_names_the_role_that_is_missing(policy: Any) -> None:
    about = ("--action", "review", "--proposes", "book", "--site", "north-clinic")
    who = ("--charter", "clinic-booking", "--author", "client:slot-picker")
    done = policy("explain", "--role", "front-desk", *about, *who)
    assert "it would be permitted with the role scheduler" in done.out
    done = policy("explain", "--role", "scheduler", *about, *who[:2])
    assert "rule chartgate/own-proposal?" in done.out
    assert "if it was known that another is its author" in done.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--read", "Slot"), "say who asks"),
        (("--client", "slot-picker"), "say what is asked for"),
        (("--client", "nobody", "--read", "Slot"), "say under which charter"),
    ],
)
def test_explain_of_half_a_question_says_what_is_missing(
    policy: Any, words: tuple[str, ...], sentence: str
) -> None:
    done = policy("explain", *words)
    assert done.code == 2
    assert sentence in done.err


def test_diff_names_what_a_revision_permits_that_the_other_did_not(
    policy: Any, policies: Path, folder: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    shutil.copytree(folder, before)
    words = ("diff", "--before", before / "charters", "--not-recorded")
    same = policy(*words)
    assert (same.code, same.out.strip().endswith("0 differ")) == (0, True)
    (policies / "psychiatry.cedar").unlink()
    done = policy(*words)
    assert done.code == 1
    assert "refused -> permitted  client:scribe, read Patient, at north-clinic" in done.out
    value = policy(*words, "--json").json
    assert {row["before"]["rule"] for row in value["differ"]} == {"tenant/psychotherapy"}
    assert all(row["asked"] == 0 for row in value["differ"])


def test_cases_that_are_answered_otherwise_are_told(policy: Any, policies: Path) -> None:
    done = policy("test")
    assert (done.code, done.out) == (0, "2 cases, 0 answered otherwise\n")
    (policies / "psychiatry.cedar").unlink()
    done = policy("test")
    assert done.code == 1
    assert (
        "psychotherapy stays where it is: is permitted by clinic-booking/read/Patient" in done.out
    )
    assert policy("test", "--json").json["failed"][0]["expected"] is False


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("says: the", "sais: the", "cases[0]: there is no key sais; did you mean says?"),
        ("    expect: refused\n", "", "cases[1]: the key expect is missing"),
        ("expect: refused", "expect: nope", "cases[1]: expect must be one of permitted, refused"),
        ("labels: [PSY]", "labels: PSY", "cases[1]: labels must be a list of texts"),
        ("client: slot-picker", "nobody: x", "one of client, person and process says who asks"),
        ("cases:", "case:", "the one key cases"),
    ],
)
def test_case_that_is_wrong_is_named(
    policy: Any, policies: Path, old: str, new: str, sentence: str
) -> None:
    file = policies / "tests.yaml"
    assert old in CASES
    file.write_text(CASES.replace(old, new))
    done = policy("test")
    assert done.code == 2
    assert sentence in done.err
