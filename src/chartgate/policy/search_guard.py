"""What may not be read may not be searched, sorted, chained, included or counted by.

Only the parameters that the charter lists pass, plainly: no modifier, no chain. Everything that
would change which resources or elements come back stays with Chartgate.
"""

import re
from collections.abc import Callable, Mapping

from chartgate.errors import Denied, Invalid
from chartgate.formats import r4
from chartgate.model.charter import ReadRule
from chartgate.model.ports import Criteria

CRITERIA_MAX = 30
VALUE_LENGTH_MAX = 500
ALTERNATIVES_MAX = 50
PAGE = re.compile(r"[1-9][0-9]{0,5}")
MODIFIERS_SAFE = frozenset({"exact"})  # narrows what the plain parameter finds
LOGICAL_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9\-.]{1,64}")
PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(\d{4}[0-9T:.Z+\-]*)")
IDENTIFYING = frozenset({"_id", "_lastUpdated"})  # a de-identified view hides both
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

REFUSED: Mapping[str, str] = {
    "_has": "it looks into other resources",
    "_include": "it brings in resources that nobody asked policy about",
    "_revinclude": "it brings in resources that nobody asked policy about",
    "_filter": "it can look at anything",
    "_query": "it can look at anything",
    "_content": "it looks at the whole text",
    "_text": "it looks at the narrative",
    "_elements": "the charter decides which elements are shown",
    "_summary": "the charter decides which elements are shown",
    "_total": "counts tell of what is not shown",
    "_contained": "contained resources are not searched",
    "_containedType": "contained resources are not searched",
    "_list": "lists are not searched",
    "_type": "one type at a time is searched",
    "_profile": "it looks at metadata that is not shown",
    "_tag": "it looks at metadata that is not shown",
    "_security": "it looks at metadata that is not shown",
    "_source": "it looks at metadata that is not shown",
    "_score": "scores tell of what is not shown",
}


def check_search(rule: ReadRule | None, resource_type: str, criteria: Criteria) -> None:
    """Raises Denied with the reason, or Invalid for a value that cannot be meant."""
    if rule is None:
        raise Denied(f"the charter does not list {resource_type}: nothing permits searching it")
    if not rule.search:
        raise Denied(f"the charter lists no search parameter for {resource_type}")
    if len(criteria) > CRITERIA_MAX:
        raise Invalid(f"a search may have at most {CRITERIA_MAX} criteria")
    for name, value in criteria:
        _check_value(name, value)
        special = SPECIAL.get(name)
        if special is not None:
            if name in IDENTIFYING and rule.view != "identified":
                raise Denied(f"{name} is not allowed: a de-identified view does not show it")
            special(rule, resource_type, value)
        else:
            _check_parameter(rule, resource_type, name, value)


def _check_value(name: str, value: str) -> None:
    if len(name) > VALUE_LENGTH_MAX or len(value) > VALUE_LENGTH_MAX:
        raise Invalid(f"a search criterion is over {VALUE_LENGTH_MAX} characters")
    if CONTROL.search(name) or CONTROL.search(value):
        raise Invalid("a search criterion holds a control character")
    if value.count(",") >= ALTERNATIVES_MAX:
        raise Invalid(f"a search criterion may have at most {ALTERNATIVES_MAX} alternatives")


def _check_parameter(rule: ReadRule, resource_type: str, name: str, value: str) -> None:
    plain, _, modifier = name.partition(":")
    base = plain.partition(".")[0]
    if base in REFUSED:
        raise Denied(f"{base} is not allowed: {REFUSED[base]}")
    if "." in plain or "." in modifier or modifier[:1].isupper():
        raise Denied("chained searches are not allowed: they look into other resources")
    if plain not in rule.search:
        raise Denied(f"the charter does not list the search parameter {plain} of {resource_type}")
    parameter = r4.search_parameters(resource_type).get(plain)
    if parameter is None:
        raise Denied(f"{resource_type} has no search parameter {plain}")
    if modifier and (modifier not in MODIFIERS_SAFE or parameter.type != "string"):
        raise Denied(f"the modifier :{modifier} is not allowed: it tells of what is not shown")
    if not value:
        raise Invalid(f"the search parameter {plain} has no value")
    if parameter.type == "date":
        _check_dates(plain, value)


def _check_dates(name: str, value: str) -> None:
    if not all(PREFIXED.fullmatch(part) for part in value.split(",")):
        raise Invalid(f"{name} must be a date such as 2026-01-31 or ge2026-01-31")


def _check_id(rule: ReadRule, resource_type: str, value: str) -> None:
    if not all(LOGICAL_ID.fullmatch(part) for part in value.split(",")):
        raise Invalid("_id must be one or more logical ids")


def _check_last_updated(rule: ReadRule, resource_type: str, value: str) -> None:
    _check_dates("_lastUpdated", value)


def _check_count(rule: ReadRule, resource_type: str, value: str) -> None:
    if PAGE.fullmatch(value) is None:
        raise Invalid("_count must be a whole number from 1")


def _check_sort(rule: ReadRule, resource_type: str, value: str) -> None:
    """The order tells of values, so it may only follow what is readable."""
    allowed = {*rule.search, *(IDENTIFYING if rule.view == "identified" else ())}
    for part in value.split(","):
        name = part.removeprefix("-")
        if name not in allowed:
            raise Denied(f"_sort by {name} is not allowed: the charter does not list it")


def _check_format(rule: ReadRule, resource_type: str, value: str) -> None:
    if value not in ("json", "application/json", "application/fhir+json"):
        raise Invalid("only JSON is served: _format must be json")


SPECIAL: Mapping[str, Callable[[ReadRule, str, str], None]] = {
    "_id": _check_id,
    "_lastUpdated": _check_last_updated,
    "_count": _check_count,
    "_sort": _check_sort,
    "_format": _check_format,
}
