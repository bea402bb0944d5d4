"""What DFT messages charge for."""

from typing import Any

import pytest

from chartgate.testing.messages import header, message, patient, visit
from chartgate.transform.hl7v2.datatypes import Unmappable
from tests.transform.hl7v2.made import by_type, laid


def record_after(*messages: tuple[str, ...]) -> dict[str, list[Any]]:
    """A record after messages of these segments, by type."""
    pid = patient().split("|")
    pid += [""] * (19 - len(pid))
    pid[18] = "ACC1^^^NORTH^AN"
    start = (header("DFT^P03"), "|".join(pid), visit())
    return by_type(laid(*(message(*start, *segments) for segments in messages)))


def ft1(number: str = "T1", *, kind: str = "CG", total: str = "100&USD", count: str = "2") -> str:
    start = f"FT1|1|{number}||20240102|20240103|{kind}|71045^X-ray^C4|||{count}|{total}|50&USD"
    return f"{start}|RAD^Radiology||||||R05^Cough^I10|88^Doctor^Dan"


def test_charge_says_what_for_how_much_and_on_whose_account() -> None:
    [item] = record_after((ft1(), "NTE|1||Portable"))["ChargeItem"]
    assert item["status"] == "billable"
    assert item["code"]["coding"][0]["display"] == "X-ray"
    assert (item["quantity"], item["priceOverride"]) == (
        {"value": 2},
        {"value": 100, "currency": "USD"},
    )
    assert (item["occurrenceDateTime"], item["enteredDate"]) == ("2024-01-02", "2024-01-03")
    assert item["account"][0]["reference"].startswith("Account/")
    assert item["context"]["reference"].startswith("Encounter/")
    assert item["reason"][0]["coding"][0]["code"] == "R05"
    assert item["note"][0]["text"] == "Portable"


@pytest.mark.parametrize(("count", "priced"), [("1", True), ("", True), ("2", False)])
def test_price_of_a_unit_is_the_price_only_where_there_is_one(count: str, priced: bool) -> None:
    [item] = record_after((ft1(total="", count=count),))["ChargeItem"]
    assert ("priceOverride" in item) is priced


def test_credit_counts_against_its_charge_and_leaves_it() -> None:
    items = record_after((ft1(),), (ft1(kind="CD"),))["ChargeItem"]
    assert [item["priceOverride"]["value"] for item in items] == [100, -100]
    assert [item.get("overrideReason") for item in items] == [None, "credit"]


@pytest.mark.parametrize("kind", ["PY", "AJ", "CO"])
def test_payment_is_no_charge(kind: str) -> None:
    assert "ChargeItem" not in record_after((ft1(kind=kind), "NTE|1||Paid"))


def test_same_transaction_is_one_charge_and_equal_ones_without_a_number_are_two() -> None:
    assert len(record_after((ft1(),), (ft1(),))["ChargeItem"]) == 1
    twice = (ft1(""), ft1(""))
    assert len(record_after(twice, twice)["ChargeItem"]) == 2


def test_remark_on_a_charge_is_not_on_the_order_before_it() -> None:
    found = record_after(("ORC|RE|P1", "OBR|1|P1||GLU^Glucose^L", ft1(), "NTE|1||Portable"))
    [request] = found["ServiceRequest"]
    assert "note" not in request


def test_charge_for_nothing_is_refused() -> None:
    with pytest.raises(Unmappable, match="FT1-7"):
        record_after(("FT1|1|T1||20240102||CG",))
