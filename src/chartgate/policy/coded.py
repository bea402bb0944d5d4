"""Codes with their names, and quantities with their units, as a proposal writes them.

A name beside a code is what a person reads, the code is what a system acts on; the same holds for
the text of a unit and its UCUM code. A proposal may not let one say something else than the other.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

UCUM = "http://unitsofmeasure.org"
# Texts by which people and systems call a unit, and its UCUM code: those that are mistaken for one
# another. Source of the codes: https://ucum.org/ucum (case sensitive).
UNIT_TEXTS: Mapping[str, str] = {
    text: code
    for code, texts in {
        "kg": "kg kilogram kilograms",
        "g": "g gm gram grams",
        "mg": "mg milligram milligrams",
        "ug": "ug mcg µg μg microgram micrograms",
        "ng": "ng nanogram nanograms",
        "[lb_av]": "lb lbs pound pounds",
        "L": "l liter liters litre litres",
        "mL": "ml milliliter milliliters millilitre millilitres cc",
        "dL": "dl deciliter decilitre",
        "uL": "ul µl μl microliter microlitre",
        "mol": "mol mole moles",
        "mmol": "mmol millimole millimoles",
        "umol": "umol µmol μmol micromole micromoles",
        "mol/L": "mol/l",
        "mmol/L": "mmol/l",
        "umol/L": "umol/l µmol/l μmol/l",
        "g/L": "g/l",
        "g/dL": "g/dl",
        "mg/dL": "mg/dl",
        "mg/L": "mg/l",
        "ug/dL": "ug/dl mcg/dl µg/dl μg/dl",
        "ug/L": "ug/l mcg/l µg/l μg/l",
        "ng/mL": "ng/ml",
        "ug/mL": "ug/ml mcg/ml µg/ml μg/ml",
        "mg/mL": "mg/ml",
        "meq/L": "meq/l",
        "Cel": "cel °c celsius",
        "[degF]": "degf °f fahrenheit",
        "cm": "cm centimeter centimeters centimetre centimetres",
        "m": "m meter meters metre metres",
        "mm": "mm millimeter millimetre",
        "[in_i]": "in inch inches",
        "mm[Hg]": "mmhg",
        "kPa": "kpa",
        "mg/kg": "mg/kg",
        "ug/kg": "ug/kg mcg/kg µg/kg μg/kg",
        "s": "s sec second seconds",
        "min": "min minute minutes",
        "h": "h hr hour hours",
        "d": "d day days",
    }.items()
    for text in texts.split()
}
# These are read as they stand, before case is folded: "Mg" is no milligram.
KNOWN_CODES = frozenset(UNIT_TEXTS.values())


def unit_of(quantity: Mapping[str, Any]) -> str | None:
    """The unit as UCUM has it, where that can be told."""
    code, system, text = quantity.get("code"), quantity.get("system"), quantity.get("unit")
    if isinstance(code, str) and system in (UCUM, None):
        return code
    return unit_said(text) if code is None else None


def unit_said(text: Any) -> str | None:
    """The UCUM code that a text stands for; None for a text that is not known."""
    if not isinstance(text, str):
        return None
    plain = text.strip()
    return plain if plain in KNOWN_CODES else UNIT_TEXTS.get(plain.casefold())


def unit_contradicts(quantity: Mapping[str, Any]) -> bool:
    """Whether the text of a unit says another unit than its code."""
    said, unit = unit_said(quantity.get("unit")), unit_of(quantity)
    return said is not None and unit is not None and said != unit


def is_quantity(value: Any) -> bool:
    """Whether JSON looks like a Quantity with a number and a unit."""
    if not isinstance(value, dict) or not is_number(value.get("value")):
        return False
    return isinstance(value.get("unit"), str) or isinstance(value.get("code"), str)


def is_number(value: Any) -> bool:
    """A number of JSON; true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def quantities(
    value: Any, path: str = "", concept: frozenset[str] = frozenset()
) -> Iterator[tuple[str, frozenset[str], Mapping[str, Any]]]:
    """(path without places in lists, codes of what is measured, quantity) of each in a resource."""
    if isinstance(value, dict):
        if is_quantity(value):
            yield path, concept, value
            return
        own = _concept(value)
        for name, inner in value.items():
            yield from quantities(inner, f"{path}.{name}" if path else name, own or concept)
    elif isinstance(value, list):
        for inner in value:
            yield from quantities(inner, path, concept)


def codings(value: Any) -> list[Mapping[str, Any]]:
    """The codings of a CodeableConcept, or the one that a Coding is."""
    if not isinstance(value, dict):
        return []
    inner = value.get("coding")
    if isinstance(inner, list):
        return [c for c in inner if isinstance(c, dict)]
    return [value] if "code" in value else []


def code_key(coding: Mapping[str, Any]) -> str:
    """ "http://loinc.org|8867-4"; without a system "|8867-4"."""
    return f"{coding.get('system', '')}|{coding.get('code', '')}"


def all_codings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every coding with a code and a name, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("code"), str) and isinstance(value.get("display"), str):
            yield value
        for inner in value.values():
            yield from all_codings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from all_codings(inner)


def plain_name(text: str) -> str:
    """A name for comparing: case and white space do not matter."""
    return " ".join(text.casefold().split())


def names_swapped(written: Any, read: Sequence[Any]) -> bool:
    """Whether a coding goes by a name that what was read has for another code of its system, and
    not for this one."""
    names: dict[tuple[Any, str], set[str]] = {}
    for body in read:
        for coding in all_codings(body):
            key = (coding.get("system"), plain_name(coding["display"]))
            names.setdefault(key, set()).add(coding["code"])
    known = {(system, code) for (system, _), codes in names.items() for code in codes}
    for coding in all_codings(written):
        system, code = coding.get("system"), coding["code"]
        others = names.get((system, plain_name(coding["display"])))
        if others is not None and code not in others and (system, code) in known:
            return True
    return False


def _concept(value: Mapping[str, Any]) -> frozenset[str]:
    for name in ("code", "medicationCodeableConcept", "vaccineCode", "type"):
        if found := codings(value.get(name)):
            return frozenset(code_key(c) for c in found)
    return frozenset()
