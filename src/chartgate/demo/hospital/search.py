"""FHIR search on the chart: parsing criteria, matching, sorting.

An unknown parameter, modifier or value is refused; with `Prefer: handling=lenient` an unknown
parameter is left out instead, the self link does not show it and the Bundle says so. Not here:
chained parameters, _has, _include. Source: https://hl7.org/fhir/R4/search.html
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from chartgate.demo.hospital.chart import Chart, Version, View
from chartgate.demo.hospital.dates import (
    COMPARISONS,
    EARLIEST,
    Interval,
    interval_of,
    parse_interval,
)
from chartgate.demo.hospital.exchange import Refused
from chartgate.demo.hospital.parameters import Parameter, elements, keys, parameters_of

COUNT_DEFAULT = 50
COUNT_MAX = 1000
CONTROLS = ("_count", "_sort", "_total", "_summary", "_format", "_pretty", "_elements")
MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "token": ("not", "missing"),
    "reference": ("missing",),  # and the name of a type
    "date": ("missing",),
    "string": ("exact", "contains", "missing"),
    "uri": ("missing",),
}
Test = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One parameter of a search; any of its `wanted` values will do."""

    parameter: Parameter
    wanted: tuple[str, ...]
    modifier: str
    test: Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search as understood. `used` are the pairs that the self link shows."""

    resource_type: str
    conditions: tuple[Condition, ...]
    used: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    count: int = COUNT_DEFAULT
    counted_only: bool = False
    with_total: bool = True

    @property
    def text(self) -> str:
        return urlencode(self.used, safe=":|,/")


def parse_query(
    resource_type: str, pairs: Iterable[tuple[str, str]], *, lenient: bool = False
) -> Query:
    """Raises Refused for what the hospital cannot search by."""
    conditions, used, ignored = [], [], []
    controls: dict[str, str] = {}
    for name, value in pairs:
        if name in CONTROLS:
            controls[name] = value
        elif value == "":
            continue  # "parameters with no value are ignored", search.html
        else:
            try:
                conditions.append(_condition(resource_type, name, value))
            except LookupError as unknown:
                if not lenient:
                    raise Refused(400, "not-supported", str(unknown.args[0])) from None
                ignored.append(name)
                continue
        used.append((name, value))
    return Query(
        resource_type=resource_type,
        conditions=tuple(conditions),
        used=tuple(used),
        ignored=tuple(ignored),
        sort=_sort(resource_type, controls.get("_sort", "")),
        count=_count(controls.get("_count", str(COUNT_DEFAULT))),
        counted_only=controls.get("_summary") == "count" or controls.get("_count") == "0",
        with_total=controls.get("_total") != "none",
    )


def run(chart: Chart, query: Query, *, view: View | None = None) -> list[Version]:
    """All matches, sorted. `view` shows another state than the current one, without the index."""
    if view is None:
        references: Iterable[str] = _candidates(chart, query)
        view = chart.current.get
    else:
        references = chart.references(query.resource_type)
    found = []
    for reference in references:
        version = view(reference)
        if version is not None and version.resource is not None:
            resource = version.resource
            if all(condition.test(resource) for condition in query.conditions):
                found.append(version)
    for key in reversed(query.sort):
        _sort_by(found, parameters_of(query.resource_type)[key.lstrip("-")], key.startswith("-"))
    return found


def _candidates(chart: Chart, query: Query) -> Iterable[str]:
    """The references to look at: the smallest set that an indexed condition leaves."""
    best: dict[str, None] | None = None
    for condition in query.conditions:
        if condition.parameter.kind not in ("token", "reference") or condition.modifier:
            continue
        found: dict[str, None] = {}
        for value in condition.wanted:
            for key in _spellings(value):
                found.update(chart.indexed(query.resource_type, condition.parameter.name, key))
        if best is None or len(found) < len(best):
            best = found
    return list(best) if best is not None else chart.references(query.resource_type)


def _condition(resource_type: str, name: str, value: str) -> Condition:
    plain, _, modifier = name.partition(":")
    parameter = parameters_of(resource_type).get(plain)
    if parameter is None:
        raise LookupError(f"{resource_type} cannot be searched by {plain}")
    is_type = parameter.kind == "reference" and modifier[:1].isupper()
    if modifier and not is_type and modifier not in MODIFIERS[parameter.kind]:
        raise LookupError(f"{plain} has no modifier {modifier}")
    wanted = tuple(_unescape(part) for part in _split(value))
    if is_type:
        wanted = tuple(w if "/" in w else f"{modifier}/{w}" for w in wanted)
        modifier = ""
    test = _test(parameter, modifier, wanted)
    return Condition(parameter=parameter, wanted=wanted, modifier=modifier, test=test)


def _test(parameter: Parameter, modifier: str, wanted: Sequence[str]) -> Test:
    if modifier == "missing":
        if wanted not in (("true",), ("false",)):
            raise Refused(400, "invalid", f"{parameter.name}:missing must be true or false")
        absent = wanted == ("true",)
        return lambda resource: (next(elements(resource, parameter), None) is None) == absent
    if parameter.kind in ("token", "reference"):
        accepted = frozenset(key for value in wanted for key in _spellings(value))
        if modifier == "not":
            return lambda resource: accepted.isdisjoint(keys(resource, parameter))
        return lambda resource: not accepted.isdisjoint(keys(resource, parameter))
    if parameter.kind == "date":
        return _date_test(parameter, wanted)
    if parameter.kind == "uri" or modifier == "exact":
        return lambda resource: any(v in wanted for v in elements(resource, parameter))
    return _string_test(parameter, wanted, contains=modifier == "contains")


def _date_test(parameter: Parameter, wanted: Sequence[str]) -> Test:
    comparisons = []
    for value in wanted:
        prefix, rest = (value[:2], value[2:]) if value[:2] in COMPARISONS else ("eq", value)
        interval = parse_interval(rest)
        if interval is None:
            raise Refused(400, "invalid", f"{parameter.name} needs a date such as ge2026-03-01")
        comparisons.append((COMPARISONS[prefix], interval))

    def test(resource: Mapping[str, Any]) -> bool:
        for value in elements(resource, parameter):
            have = interval_of(value)
            if have is not None and any(compare(have, want) for compare, want in comparisons):
                return True
        return False

    return test


def _string_test(parameter: Parameter, wanted: Sequence[str], *, contains: bool) -> Test:
    folded = tuple(_fold(value) for value in wanted)

    def test(resource: Mapping[str, Any]) -> bool:
        for value in elements(resource, parameter):
            have = _fold(str(value))
            if any(w in have if contains else have.startswith(w) for w in folded):
                return True
        return False

    return test


def _spellings(value: str) -> tuple[str, ...]:
    """The index keys that a token or reference value means: a code may imply its system."""
    system, bar, code = value.partition("|")
    return (value, f"*|{code}") if bar and system and code else (value,)


def _fold(text: str) -> str:
    """Lower case and without accents: string search ignores both."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _split(value: str) -> list[str]:
    """The alternatives of a value: split at commas that no backslash precedes."""
    parts = [""]
    escaped = False
    for character in value:
        if character == "," and not escaped:
            parts.append("")
        else:
            parts[-1] += character
        escaped = character == "\\" and not escaped
    return parts


def _unescape(value: str) -> str:
    for escaped in (",", "$", "|"):
        value = value.replace("\\" + escaped, escaped)
    return value.replace("\\\\", "\\")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise Refused(400, "invalid", "_count must be a whole number")
    return min(int(text), COUNT_MAX)


def _sort(resource_type: str, text: str) -> tuple[str, ...]:
    names = tuple(part for part in text.split(",") if part)
    for name in names:
        if name.lstrip("-") not in parameters_of(resource_type):
            raise Refused(400, "not-supported", f"{resource_type} cannot be sorted by {name}")
    return names


def _sort_by(found: list[Version], parameter: Parameter, descending: bool) -> None:
    """Sorts in place; what lacks the element comes last either way."""

    def key(version: Version) -> tuple[bool, str | datetime]:
        assert version.resource is not None
        value = next(elements(version.resource, parameter), None)
        if parameter.kind == "date":
            interval: Interval | None = interval_of(value)
            return (interval is None, interval[0] if interval else EARLIEST)
        return (value is None, _text(value))

    lacking = [v for v in found if key(v)[0]]
    having = [v for v in found if not key(v)[0]]
    having.sort(key=lambda v: key(v)[1], reverse=descending)
    found[:] = having + lacking


def _text(value: Any) -> str:
    """What a token, reference or string is ordered by."""
    if isinstance(value, dict):
        coding = value.get("coding") or [{}]
        for text in (value.get("reference"), value.get("value"), value.get("code")):
            if isinstance(text, str):
                return text
        return str(coding[0].get("code", ""))
    return str(value)
