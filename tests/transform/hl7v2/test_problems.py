"""What PPR messages do to problem lists and goals."""

from typing import Any

import pytest

from chartgate.testing.messages import header, message, patient, visit
from chartgate.transform.hl7v2.datatypes import Unmappable
from tests.transform.hl7v2.made import laid


def after(*messages: tuple[str, ...]) -> list[Any]:
    """Conditions and goals of a record after messages of (trigger, segments…)."""
    raws = (message(header(f"PPR^{m[0]}"), patient(), visit(), *m[1:]) for m in messages)
    return [r for r in laid(*raws).values() if r["resourceType"] in ("Condition", "Goal")]


def prb(
    action: str = "AD", *, confirmed: str = "", state: str = "", ended: str = "", name: str = "P1"
) -> str:
    fields = [action, "202401020300", "I48.0^Fibrillation^I10", f"{name}^NORTH", "", "", "20240101"]
    return "PRB|" + "|".join([*fields, "", ended, "", "", "", confirmed, state])


def code(concept: Any) -> str:
    return str(concept["coding"][0]["code"])


def test_added_problem_is_an_active_item_of_the_problem_list() -> None:
    [condition] = after(("PC1", prb(confirmed="confirmed"), "NTE|1||Since childhood"))
    assert code(condition["clinicalStatus"]) == "active"
    assert code(condition["verificationStatus"]) == "confirmed"
    assert code(condition["category"][0]) == "problem-list-item"
    assert condition["code"]["coding"][0]["system"] == "http://hl7.org/fhir/sid/icd-10"
    assert condition["recordedDate"] == "2024-01-01"
    assert condition["note"][0]["text"] == "Since childhood"
    assert condition["encounter"]["reference"].startswith("Encounter/")


def test_update_changes_the_same_condition() -> None:
    [condition] = after(("PC1", prb()), ("PC2", prb("UP", state="remission")))
    assert code(condition["clinicalStatus"]) == "remission"


@pytest.mark.parametrize("state", ["", "active"])
def test_problem_with_an_end_is_resolved(state: str) -> None:
    [condition] = after(("PC1", prb()), ("PC2", prb("UP", ended="20240201", state=state)))
    assert code(condition["clinicalStatus"]) == "resolved"
    assert condition["abatementDateTime"] == "2024-02-01"


@pytest.mark.parametrize(("trigger", "action"), [("PC3", "DE"), ("PC2", "DE"), ("PC3", "UP")])
def test_deleted_problem_stays_as_entered_in_error(trigger: str, action: str) -> None:
    [condition] = after(("PC1", prb(confirmed="confirmed")), (trigger, prb(action)))
    assert code(condition["verificationStatus"]) == "entered-in-error"
    assert "clinicalStatus" not in condition


def test_problem_added_again_after_its_deletion_is_active() -> None:
    [condition] = after(("PC1", prb()), ("PC3", prb("DE")), ("PC1", prb()))
    assert code(condition["clinicalStatus"]) == "active"
    assert "verificationStatus" not in condition


def test_problem_without_a_number_is_the_same_by_its_code() -> None:
    unnamed = prb().replace("P1^NORTH", "")
    assert len(after(("PC1", unnamed), ("PC2", unnamed))) == 1
    with pytest.raises(Unmappable, match="PRB-3"):
        after(("PC1", "PRB|AD|20240102"))


def test_goal_under_a_problem_addresses_it() -> None:
    gol = "GOL|AD|20240102|STEPS^Walk again|G1^NORTH|||20240103|20240301"
    condition, goal = after(("PC1", prb(), gol, "NTE|1||With a stick"))
    assert "note" not in condition
    assert goal["addresses"][0]["reference"] == f"Condition/{condition['id']}"
    assert goal["description"]["coding"][0]["display"] == "Walk again"
    assert (goal["lifecycleStatus"], goal["startDate"]) == ("active", "2024-01-03")
    assert goal["target"][0]["dueDate"] == "2024-03-01"
    [_, goal] = after(("PC1", prb(), gol), ("PC2", prb("UP"), gol.replace("|AD|", "|DE|")))
    assert goal["lifecycleStatus"] == "entered-in-error"


def test_message_without_a_problem_is_refused() -> None:
    with pytest.raises(Unmappable, match="no PRB"):
        after(("PC1",))
