"""SMART v2 scopes of AI clients: parsed, cut down to a charter, and looked up against a resource.

`system/Observation.rs?category=laboratory` lets through only what has that category. The query is
evaluated here, on the full resource, so that a scope holds whatever the system of record makes of
its search parameters. What cannot be evaluated exactly is refused when it is asked for, and grants
nothing if it is met later.

Source: https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html and, for
values of parameters, https://hl7.org/fhir/R4/search.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from chartgate.errors import ChartgateError
from chartgate.formats import r4
from chartgate.model.charter import ReadRule
from chartgate.model.principal import Client

SCOPE = re.compile(
    r"system/(?P<type>\*|[A-Z][A-Za-z]{1,40})\.(?P<letters>\*|read|write|c?r?u?d?s?)(\?(?P<query>.*))?"
)
WORD = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, 3.3
# What only a person can hold, or what would outlast the token.
FOR_PEOPLE = re.compile(
    r"(user|patient)/.*|launch(/.*)?|openid|fhirUser|profile|offline_access|online_access"
)
LETTERS = {"*": "cruds", "read": "rs", "write": "cud"}  # as SMART v1 wrote them
READING = "rs"
LENGTH_MAX = 500
CONDITIONS_MAX = 8
ALTERNATIVES_MAX = 50
ESCAPED = re.compile(r"\\(.)")
LOOKED_AT = {  # types of elements, by the type of the parameter
    "token": frozenset({"CodeableConcept", "Coding", "Identifier", "boolean", "code", "string"}),
    "string": frozenset({"markdown", "string"}),
    "reference": frozenset({"Reference"}),
}
META = frozenset({"_profile", "_security", "_source", "_tag"})


class ScopeRefused(ChartgateError):
    """A scope that no AI client may hold, or that nobody could evaluate. The message says why."""

    issue = "forbidden"
    status = 403


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One `name=value` of a scope: any of the values."""

    name: str
    values: tuple[str, ...]  # still escaped


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What may be done with one type, or with any ("*"), where all conditions hold."""

    resource_type: str
    letters: str  # in the order c, r, u, d, s
    conditions: tuple[Condition, ...] = ()
    query: str = ""  # as it was written, which is how it is granted

    def __str__(self) -> str:
        return f"system/{self.resource_type}.{self.letters}" + (self.query and f"?{self.query}")


@lru_cache(maxsize=4096)
def parse_scope(word: str) -> Scope | None:
    """A `system/` scope; None for any other word. Raises ScopeRefused for a query that is not
    plain `name=value`."""
    match = SCOPE.fullmatch(word) if WORD.fullmatch(word) and len(word) <= LENGTH_MAX else None
    if match is None or not match["letters"]:
        return None
    if match["query"] == "":
        raise ScopeRefused(f"the scope {word} ends with an empty query; leave the ? out")
    return Scope(
        resource_type=match["type"],
        letters=LETTERS.get(match["letters"], match["letters"]),
        conditions=_parse_query(word, match["query"]) if match["query"] else (),
        query=match["query"] or "",
    )


def narrow(asked: Sequence[str], reads: Mapping[str, ReadRule]) -> tuple[Scope, ...]:
    """What remains of the asked scopes under a charter; all of the charter's where none are asked.

    Raises ScopeRefused for what an AI client may not hold under any charter, and for conditions
    on what the charter does not show: to get some resources and not others would tell.
    """
    for word in asked:
        _check_word(word)
    if not asked:
        return tuple(scopes_of(reads))
    scopes = [scope for word in asked if (scope := parse_scope(word)) is not None]
    granted: list[Scope] = []
    for allowed in scopes_of(reads):
        granted.extend(_cut(allowed, scopes, reads[allowed.resource_type]))
    return tuple(granted)


def scopes_of(reads: Mapping[str, ReadRule]) -> Iterator[Scope]:
    """All that a charter allows, e.g. system/Patient.r and system/Slot.rs."""
    for resource_type, rule in sorted(reads.items()):
        yield Scope(resource_type=resource_type, letters="rs" if rule.search else "r")


def permitted_scopes(client: Client, resource_type: str, letter: str) -> tuple[Scope, ...]:
    """The client's scopes for reading ("r") or searching ("s") a type. Empty: it may not."""
    assert letter in READING, f"no token grants {letter}"
    found = []
    for word in client.scopes:
        scope = _known(word)
        if scope and scope.resource_type == resource_type and letter in scope.letters:
            found.append(scope)
    return tuple(found)


def any_matches(scopes: Sequence[Scope], resource: Mapping[str, Any]) -> bool:
    """Whether one of the scopes lets a full resource through; with none, nothing passes."""
    return any(matches(scope, resource) for scope in scopes)


def matches(scope: Scope, resource: Mapping[str, Any]) -> bool:
    """Whether a scope covers a resource: its type is right and all its conditions hold."""
    resource_type = resource.get("resourceType")
    if not isinstance(resource_type, str) or scope.resource_type != resource_type:
        return False
    return all(_holds(resource_type, one, resource) for one in scope.conditions)


def _check_word(word: str) -> None:
    if FOR_PEOPLE.fullmatch(word):
        raise ScopeRefused(
            f"the scope {word} is for a person's session; an AI client gets system/ scopes alone"
        )
    scope = parse_scope(word)
    if scope and scope.resource_type == "*" and set(scope.letters) - set(READING):
        raise ScopeRefused(
            f"the scope {word} would be the right to change anything; no AI client holds it. Ask"
            " for system/*.rs, and propose changes"
        )


def _known(word: str) -> Scope | None:
    try:
        return parse_scope(word)
    except ScopeRefused:
        return None


def _cut(allowed: Scope, asked: Sequence[Scope], rule: ReadRule) -> Iterator[Scope]:
    """Of one type: first what is asked without conditions, then what only with them."""
    resource_type = allowed.resource_type
    mine = [scope for scope in asked if scope.resource_type in ("*", resource_type)]
    free = {letter for scope in mine if not scope.conditions for letter in scope.letters}
    if kept := _kept(allowed.letters, free):
        yield Scope(resource_type=resource_type, letters=kept)
    bound: dict[tuple[Condition, ...], tuple[str, set[str]]] = {}
    for scope in mine:
        if scope.conditions and _can_evaluate(scope, resource_type, rule):
            _, letters = bound.setdefault(scope.conditions, (scope.query, set()))
            letters.update(set(scope.letters) - free)
    for conditions, (query, letters) in bound.items():
        if kept := _kept(allowed.letters, letters):
            yield Scope(
                resource_type=resource_type, letters=kept, conditions=conditions, query=query
            )


def _kept(allowed: str, asked: set[str]) -> str:
    return "".join(letter for letter in allowed if letter in asked)


def _can_evaluate(scope: Scope, resource_type: str, rule: ReadRule) -> bool:
    """For a wildcard, whether the type has such parameters. For a named type a mistake is told:
    raises ScopeRefused."""
    for condition in scope.conditions:
        flaw = _flaw(resource_type, condition, rule)
        if flaw and scope.resource_type == "*":
            return False
        if flaw:
            raise ScopeRefused(f"the scope {scope} cannot be granted: {flaw}")
    return True


def _flaw(resource_type: str, condition: Condition, rule: ReadRule) -> str:
    name = condition.name
    elements = [element for _, element in _looked_at(resource_type, name)]
    if not elements:
        return f"{name} of {resource_type} is not a parameter that scopes are evaluated by"
    shown = {*rule.elements, "id"}
    if name not in rule.search and not {element.base for element in elements} <= shown:
        return f"the charter does not show what {name} of {resource_type} looks at"
    if any(e.type == "code" for e in elements) and any("|" in v for v in condition.values):
        return f"{name} of {resource_type} is a code without a system; ask for the code alone"
    return ""


def _parse_query(word: str, query: str) -> tuple[Condition, ...]:
    conditions = []
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        name = _decoded(word, name)
        if not equals or not name or not value:
            raise ScopeRefused(f"the scope {word} must have name=value behind its ?")
        if re.search(r"[^A-Za-z0-9_\-]", name):
            raise ScopeRefused(
                f"the scope {word} has a modifier or chain; only plain parameters can be granted"
            )
        # A comma that is escaped belongs to its value.
        values = tuple(re.split(r"(?<!\\),", _decoded(word, value)))
        if not all(values) or len(values) > ALTERNATIVES_MAX:
            raise ScopeRefused(f"the scope {word} has an empty value, or too many")
        conditions.append(Condition(name=name, values=values))
    if len(conditions) > CONDITIONS_MAX:
        raise ScopeRefused(f"a scope may have {CONDITIONS_MAX} conditions")
    return tuple(conditions)


def _decoded(word: str, text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        decoded = "\x00"
    if not decoded.isprintable():
        raise ScopeRefused(f"the scope {word} does not decode to printable UTF-8")
    return decoded


@lru_cache(maxsize=4096)
def _looked_at(resource_type: str, name: str) -> tuple[tuple[str, r4.Element], ...]:
    """The elements that a parameter looks at, each with the parameter's type; none where they
    cannot be looked at exactly: nested ones, or those with a meaning of their own."""
    parameter = r4.search_parameters(resource_type).get(name)
    if parameter is None or not parameter.elements or name in META:
        return ()
    wanted = LOOKED_AT.get(parameter.type, frozenset())
    found: list[tuple[str, r4.Element]] = []
    for base in parameter.elements:
        variants = [e for e in r4.elements(resource_type).values() if e.base == base]
        usable = [e for e in variants if e.type in wanted]
        if not usable or any(e.choice and e.type in ("boolean", "string") for e in usable):
            return ()
        found.extend((parameter.type, element) for element in usable)
    return tuple(found)


def _holds(resource_type: str, condition: Condition, resource: Mapping[str, Any]) -> bool:
    return any(
        COMPARE[kind](element, condition.name, value, one)
        for kind, element in _looked_at(resource_type, condition.name)
        for one in _listed(resource.get(element.name))
        for value in condition.values
    )


def _has_token(element: r4.Element, name: str, value: str, found: Any) -> bool:
    return any(_is_token(value, system, code) for system, code in _codings(element, found))


def _begins_with(element: r4.Element, name: str, value: str, found: Any) -> bool:
    return isinstance(found, str) and found.casefold().startswith(_plain(value).casefold())


def _refers_to(element: r4.Element, name: str, value: str, found: Any) -> bool:
    reference = found.get("reference") if isinstance(found, dict) else None
    if not isinstance(reference, str):
        return False
    reference, wanted = reference.partition("/_history/")[0], _plain(value)
    kind, _, logical_id = reference.rpartition("/")
    if name == "patient" and kind != "Patient":
        return False
    if "/" in wanted:
        return reference == wanted
    return logical_id == wanted and r4.is_resource_type(kind)


COMPARE = {"token": _has_token, "string": _begins_with, "reference": _refers_to}


def _codings(element: r4.Element, found: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of system and code; the system of what has none is None."""
    if element.type == "boolean":
        yield None, str(found).lower() if isinstance(found, bool) else None
    elif isinstance(found, str):
        yield None, found
    elif isinstance(found, dict) and element.type == "CodeableConcept":
        for coding in _listed(found.get("coding")):
            if isinstance(coding, dict):
                yield coding.get("system"), coding.get("code")
    elif isinstance(found, dict):
        yield found.get("system"), found.get("value" if element.type == "Identifier" else "code")


def _is_token(value: str, system: Any, code: Any) -> bool:
    """`code`, `system|code`, `|code` or `system|`; exactly, letter by letter."""
    parts = re.split(r"(?<!\\)\|", value)
    if len(parts) == 1:
        return isinstance(code, str) and code == _plain(value)
    if len(parts) != 2:
        return False
    wanted_system, wanted_code = (_plain(part) for part in parts)
    if (system or "") != wanted_system:
        return False
    return code == wanted_code if wanted_code else bool(wanted_system)


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _plain(value: str) -> str:
    return ESCAPED.sub(r"\1", value)
