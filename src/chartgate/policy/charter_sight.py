"""Checks of how a charter shows what it lists: labels, free text, extensions, identifiers, views.

What a rule hides must not be found out by searching either: searchable is a part of readable.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chartgate.formats import r4
from chartgate.policy.charter_shape import near
from chartgate.policy.label_codes import SENSITIVITIES

# What a charter may list under sensitive: kinds of information, and what is only said to be
# restricted or very restricted.
LISTABLE_LABELS = SENSITIVITIES | {"R", "V"}
IDENTIFIED = "identified"
TEXT_TYPES = frozenset({"string", "markdown", "Annotation", "Attachment", "CodeableConcept"})
IDENTIFIER_TYPES = frozenset({"Identifier", "ContactPoint"})
# Kinds of search parameters whose values a view still shows as they are stored.
SHOWN_BY_VIEW: Mapping[str, frozenset[str]] = {
    "safe-harbor": frozenset({"token"}),
    "limited": frozenset({"token", "date"}),
}

Findings = Iterator[str]


def sight_findings(resource_type: str, rule: Mapping[str, Any]) -> Findings:
    """A sentence for each thing in a read rule that shows too much, or that does not exist."""
    where = f"reads.{resource_type}"
    for code in rule.get("sensitive", []):
        if code not in LISTABLE_LABELS:
            yield f"{where}.sensitive: there is no label {code}{near(code, LISTABLE_LABELS)}"
    yield from _extension_findings(where, rule)
    known = r4.search_parameters(resource_type)
    for name in rule.get("search", []):
        if name in known and not name.startswith("_"):
            yield from _search_findings(where, resource_type, known[name], rule)


def view_findings(charter: Mapping[str, Any]) -> Findings:
    """What a view asks of the rest of the charter."""
    views = {t: r.get("view", IDENTIFIED) for t, r in charter["reads"].items()}
    limited = sorted(t for t, view in views.items() if view == "limited")
    if limited and not charter.get("data_use_agreement"):
        yield (
            f"reads.{limited[0]}.view: a limited data set needs a data use agreement"
            " (45 CFR 164.514(e)(4)); name it under the key data_use_agreement"
        )
    for name, action in charter.get("proposes", {}).items():
        for write in action["writes"]:
            resource_type = write.partition(" ")[2].partition(".")[0]
            if views.get(resource_type, IDENTIFIED) != IDENTIFIED:
                yield (
                    f"proposes.{name}.writes: {write} is about a {resource_type}, which is shown"
                    " de-identified; what nobody can tell apart cannot be changed"
                )


def _extension_findings(where: str, rule: Mapping[str, Any]) -> Findings:
    listed = rule["elements"] if isinstance(rule["elements"], list) else []
    named = [e for e in ("extension", "modifierExtension") if e in listed]
    if named and "extensions" not in rule:
        yield (
            f"{where}.elements: {named[0]} can hold anything; name the URLs that are meant under"
            " the key extensions"
        )
    for url in rule.get("extensions", []):
        if ":" not in url:
            yield f"{where}.extensions: {url} must be a whole URL; its parts are shown with it"


def _search_findings(
    where: str, resource_type: str, parameter: r4.SearchParameter, rule: Mapping[str, Any]
) -> Findings:
    types = _types(resource_type, parameter.elements)
    view = rule.get("view", IDENTIFIED)
    hidden = ""
    if view != IDENTIFIED and parameter.type not in SHOWN_BY_VIEW[view]:
        hidden = f"the view {view} does not show as it is stored"
    elif view != IDENTIFIED and types & IDENTIFIER_TYPES:
        hidden = f"the view {view} does not show"
    elif "identifiers" in rule and "Identifier" in types:
        hidden = "only the identifiers of some systems are shown of"
    elif rule.get("text", "keep") != "keep" and parameter.type == "string" and types & TEXT_TYPES:
        hidden = "the rule for text cuts"
    if hidden:
        yield (
            f"{where}.search: {parameter.name} looks at what {hidden};"
            " what may not be read may not be searched"
        )


def _types(resource_type: str, bases: Sequence[str]) -> frozenset[str]:
    known = r4.elements(resource_type).values()
    return frozenset(e.type for e in known if e.base in bases)
