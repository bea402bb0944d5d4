"""Dates, ages and addresses made coarser, as Safe Harbor has it: 45 CFR 164.514(b)(2)(i)(B), (C)."""

import re
from collections.abc import Mapping
from typing import Any

AGE_YEARS_MAX = 89
OLDEST_YEARS = AGE_YEARS_MAX + 1  # "90 or older" is one category
# First three digits of ZIP codes in whose area 20,000 people or fewer live. "Currently" in the rule
# means the latest census: of 2020. The lists of 2000 (the 17 of the guidance of HHS) and of 2010
# are kept as well, so that nothing is shown which one of them would hide.
# Sources: https://www.hhs.gov/hipaa/for-professionals/special-topics/de-identification/;
# counts of the decennial censuses by ZCTA.
SPARSE_2000 = "036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893"
SPARSE_2010 = "036 059 102 203 205 369 556 692 821 823 878 879 884 893"
SPARSE_2020 = "036 059 102 202 203 204 205 369 556 692 753 772 821 823 878 879 884 893"
SPARSE_PREFIXES = frozenset(f"{SPARSE_2000} {SPARSE_2010} {SPARSE_2020}".split())
NOWHERE = "000"
ZIP = re.compile(r"([0-9]{3})([0-9]{2}([- ]?[0-9]{4})?)?")
# Codes of the Postal Service; another text in `state` may say anything.
STATES = frozenset(
    """
    AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY
    NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC AS GU MP PR VI UM AA AE AP
    """.split()  # noqa: SIM905
)
UNITED_STATES = frozenset({"us", "usa", "840", "unitedstates", "unitedstatesofamerica"})
COUNTRY = re.compile(r"[A-Z]{2,3}")
YEAR = re.compile(r"([0-9]{4})(-.*)?", re.DOTALL)
KEPT_OF_ADDRESS = ("use", "type", "period")
LIMITED_OF_ADDRESS = (*KEPT_OF_ADDRESS, "city", "state", "postalCode", "country")
# Units of age in UCUM, and how they are written out: years in one.
YEARS_IN_UNIT: Mapping[str, float] = {
    **dict.fromkeys(("a", "a_j", "a_g", "a_t", "yr", "yrs", "year", "years", "y"), 1.0),
    **dict.fromkeys(("mo", "mo_j", "mo_g", "mo_s", "month", "months"), 1 / 12),
    **dict.fromkeys(("wk", "week", "weeks"), 7 / 365.25),
    **dict.fromkeys(("d", "day", "days"), 1 / 365.25),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 1 / 8766),
    **dict.fromkeys(("min", "minute", "minutes"), 1 / 525_960),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1 / 31_557_600),
}
# Of observations whose value is an age, in LOINC and SNOMED CT.
AGE_CODES = frozenset(
    """
    21611-9 21612-7 29553-5 30525-0 30972-4 35659-2 39016-1 63900-5 397669002 424144002 445518008
    """.split()  # noqa: SIM905
)
UCUM = "http://unitsofmeasure.org"


def year_of(value: Any, current: int) -> str | None:
    """The year of a date; None if it tells of somebody over 89, or is none."""
    match = YEAR.fullmatch(value) if isinstance(value, str) else None
    if match is None or current - int(match[1]) > AGE_YEARS_MAX:
        return None
    return match[1]


def is_over(value: Any, limit: float) -> bool:
    """Whether a number is above the limit; what is no number counts as above."""
    return isinstance(value, bool) or not isinstance(value, int | float) or value > limit


def aged(quantity: Mapping[str, Any], *, is_age: bool) -> dict[str, Any]:
    """A quantity; ages over 89 as one category. Without a unit, an Age is in years."""
    unit = quantity.get("code") or quantity.get("unit")
    default = 1.0 if is_age else 0.0  # of a unit that is none of time
    in_years = YEARS_IN_UNIT.get(str(unit).strip().lower(), default) if unit else default
    value = quantity.get("value")
    if value is None or not in_years or not is_over(value, 0):
        return dict(quantity)
    if not is_over(value, 10**9) and value * in_years < OLDEST_YEARS:
        return dict(quantity)
    return {"value": OLDEST_YEARS, "comparator": ">=", "unit": "a", "system": UCUM, "code": "a"}


def is_about_age(observation: Mapping[str, Any]) -> bool:
    """Whether the value of an observation, or of a part of one, is an age."""
    code = observation.get("code")
    codings = code.get("coding") if isinstance(code, dict) else None
    held = codings if isinstance(codings, list) else []
    return any(isinstance(c, dict) and c.get("code") in AGE_CODES for c in held)


def address(value: Mapping[str, Any], *, limited: bool) -> dict[str, Any]:
    """What may be said of an address: the state and three digits, or town, state and ZIP code."""
    if limited:
        return {name: value[name] for name in LIMITED_OF_ADDRESS if name in value}
    kept = {name: value[name] for name in KEPT_OF_ADDRESS if name in value}
    country = value.get("country")
    at_home = country is None or _folded(country) in UNITED_STATES
    if isinstance(country, str) and (at_home or COUNTRY.fullmatch(country)):
        kept["country"] = "US" if at_home else country
    if not at_home:
        return kept
    state, postal_code = value.get("state"), value.get("postalCode")
    if isinstance(state, str) and state.strip().upper() in STATES:
        kept["state"] = state.strip().upper()
    match = ZIP.fullmatch(postal_code.strip()) if isinstance(postal_code, str) else None
    if match:
        kept["postalCode"] = NOWHERE if match[1] in SPARSE_PREFIXES else match[1]
    return kept


def _folded(country: Any) -> str:
    return "".join(filter(str.isalnum, str(country))).lower()
