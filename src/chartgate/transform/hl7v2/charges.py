"""Makers for charges (DFT): ChargeItem of each FT1 that charges or credits."""

from collections import Counter

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import groups
from chartgate.transform.hl7v2.identity import Identity, first_identity, resource_id
from chartgate.transform.hl7v2.observations import make_own_observations
from chartgate.transform.hl7v2.orders import is_named, make_order, make_subject
from chartgate.transform.hl7v2.work import Work

CHARGE, CREDIT = "CG", "CD"  # HL7 table 0017; payments and adjustments of the account are neither


def make_charges(work: Work) -> None:
    """A ChargeItem of each charge, with the orders and observations beside them."""
    make_subject(work)
    _make_orders(work)
    equals: Counter[str] = Counter()
    notes: Draft | None = None  # whose the next NTE are
    for segment in work.message.segments():
        if segment.name == "FT1":
            notes = None
            if (segment.value(6) or CHARGE) in (CHARGE, CREDIT):
                notes = _charge(work, segment, equals)
        elif segment.name != "NTE":
            notes = None
        elif notes is not None:
            work.apply("NTE.ChargeItem", segment, notes)


def _make_orders(work: Work) -> None:
    found = groups(work.message)
    equals: Counter[str] = Counter()
    for order in found.orders:
        if is_named(order):
            make_order(work, order, equals)
    undated = work.message.value("MSH", 7) or ""
    make_own_observations(work, found.before.observations, undated=undated)


def _charge(work: Work, ft1: Segment, equals: Counter[str]) -> Draft:
    if not any(ft1.raw(field) for field in (7, 8, 25)):
        raise Unmappable("neither FT1-7 nor FT1-25 says what was charged for", position="FT1-7")
    item = work.draft("ChargeItem", _key(work, ft1, equals))
    item.refer("subject", work.patient)
    item.refer("context", work.encounter)
    work.apply("FT1.ChargeItem", ft1, item)
    account = first_identity(work.segment("PID"), 18)
    if account is not None:
        reference = f"Account/{resource_id(work.settings, 'Account', account)}"
        item.add("account", "PID-18", {"reference": reference})
    if ft1.value(6) == CREDIT:
        _as_credit(item)
    item.defaults["status"] = "billable"
    return item


def _key(work: Work, ft1: Segment, equals: Counter[str]) -> Identity:
    """FT1-2, else what was charged to whom and when; a credit is not the charge that it undoes."""
    kind = "credit" if ft1.value(6) == CREDIT else "charge"
    number = first_identity(ft1, 2)
    if number is not None:
        return number if kind == "charge" else Identity(f"{number.key}", kind)
    owner = work.encounter or work.patient
    code = ft1.value(7) or ft1.value(25) or ft1.value(8) or ""
    key = f"{owner.reference if owner else ''} {code} {ft1.raw(4)} {ft1.raw(11)} {kind}"
    equals[key] += 1
    return Identity(key if equals[key] == 1 else f"{key} {equals[key]}", "charge without a number")


def _as_credit(item: Draft) -> None:
    """Its price counts against what was charged."""
    price = item.get("priceOverride")
    if price is not None and price["value"] > 0:
        item.put("priceOverride", {**price, "value": -price["value"]})
    item.put("overrideReason", "credit")


CHARGE_MESSAGES = dict.fromkeys(("DFT^P03", "DFT^P11"), make_charges)
