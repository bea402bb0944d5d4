"""Security labels of a resource, from what it says: HL7 DS4P and HCS by content.

Every coding at any depth counts, in whatever element it stands, beside what meta.security and other
labels in it say. Labels only add up: nothing in a resource takes a label away.
"""

import base64
import binascii
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from chartgate.model.charter import ReadRule
from chartgate.model.label import (
    CONFIDENTIALITY,
    MOST_RESTRICTIVE,
    NO_LABELS,
    USUAL,
    Labels,
    covered_by,
)
from chartgate.policy.label_codes import (
    HANDLING,
    IMPLIED,
    INTEGRITY,
    LABEL_SYSTEMS,
    PURPOSES,
    SENSITIVITIES,
)
from chartgate.policy.label_rules import LabelRules, own_label_rules, parse_label_rules

__all__ = ["LabelRules", "can_show", "labels_of", "own_label_rules", "parse_label_rules"]

UNKNOWN = "?"
NOTHING: frozenset[str] = frozenset()
NOT_UNDERSTOOD = frozenset({UNKNOWN})
LABEL_PLACES = ("security", "securityLabel")
TEXT_ONLY_KEYS = frozenset({"text", "id", "extension"})  # a concept without a code
KNOWN: Mapping[str, frozenset[str]] = {
    "actcode": SENSITIVITIES | HANDLING,
    "confidentiality": frozenset(CONFIDENTIALITY),
    "purpose": PURPOSES,
    "integrity": INTEGRITY,
}
SYSTEM_NAMES = {uri: name for name, uris in LABEL_SYSTEMS.items() for uri in uris}
READABLE_TYPES = ("text/", "application/json", "application/xml", "application/xhtml")
LABELLED_MAX = 5_000


def labels_of(resource: Mapping[str, Any], rules: LabelRules) -> Labels:
    """The labels of a resource, those of what is inside it included."""
    found: set[str] = set()
    codings = rules.codings
    for value in _objects(resource):
        if "code" in value:
            try:
                if hit := codings(value.get("system"), value["code"], value.get("display")):
                    found |= hit
            except TypeError:  # a resource with a code, say, and no Coding
                found |= _odd_coding(value, rules)
        elif ("display" in value or "text" in value) and (hit := _named(value, rules)):
            found |= hit
        if "security" in value or "securityLabel" in value or "confidentiality" in value:
            found |= _stated_in(value, rules)
    if rules.text == "all":
        found |= _prose(resource, rules)
    return _labels(frozenset(found), rules) if found else NO_LABELS


def can_show(labels: Labels, rule: ReadRule) -> tuple[bool, str]:
    """Whether a charter's rule may show what has these labels, with a sentence that says why.

    A label more never makes a no a yes. The sentence names labels: for the audit, not for clients.
    """
    if labels.unknown:
        return False, "it has a security label that is not understood"
    unlisted = labels.sensitivities - covered_by(rule.sensitive)
    if unlisted:
        return False, f"the charter does not list {', '.join(sorted(unlisted))} under sensitive"
    if labels.confidentiality == MOST_RESTRICTIVE and MOST_RESTRICTIVE not in rule.sensitive:
        return False, "it is very restricted, and the charter does not list V under sensitive"
    if labels.confidentiality == "R" and not rule.sensitive:
        return False, "it is restricted, and the charter lists nothing under sensitive"
    return True, "no label stands against it"


def _objects(resource: Any) -> list[dict[str, Any]]:
    """Every object of a resource, itself first, at any depth."""
    objects: list[dict[str, Any]] = []
    stack = [resource]
    pop, push, extend = stack.pop, stack.append, stack.extend
    while stack:
        value = pop()
        if type(value) is dict:
            objects.append(value)
            for inner in value.values():
                if type(inner) is dict:
                    push(inner)
                elif type(inner) is list:
                    extend(inner)
        elif type(value) is list:
            extend(value)
    return objects


def _odd_coding(value: Mapping[str, Any], rules: LabelRules) -> frozenset[str]:
    """Of an object with a code that is no Coding, or no proper one: a resource with a code, say."""
    system, code, display = (
        text if type(text) is str else None
        for text in (value.get("system"), value["code"], value.get("display"))
    )
    return rules.codings(system, code, display) | _named(value, rules)


def _named(value: Mapping[str, Any], rules: LabelRules) -> frozenset[str]:
    """Of what a reference or a concept is called; free text elsewhere is for `_prose`."""
    display, text = value.get("display"), value.get("text")
    found = rules.texts(display) if type(display) is str else NOTHING
    if type(text) is str and ("coding" in value or value.keys() <= TEXT_ONLY_KEYS):
        found |= rules.texts(text)
    return found


def _stated_in(value: Mapping[str, Any], rules: LabelRules) -> set[str]:
    """Labels in the places for labels: meta.security, securityLabel, Composition.confidentiality."""
    found: set[str] = set()
    for place in LABEL_PLACES:
        if place in value:
            found |= _stated(value[place], rules)
    code = value.get("confidentiality")
    if type(code) is str:
        found |= {code} if code in CONFIDENTIALITY else NOT_UNDERSTOOD
    return found


def _stated(value: Any, rules: LabelRules) -> set[str]:
    """What a place for labels says: a Coding, a CodeableConcept, or a list of them."""
    found: set[str] = set()
    for item in value if type(value) is list else [value]:
        codings = item.get("coding", [item]) if type(item) is dict else None
        if type(codings) is not list or not codings:
            found |= NOT_UNDERSTOOD
            continue
        for coding in codings:
            found |= _label(coding, rules)
    return found


def _label(coding: Any, rules: LabelRules) -> frozenset[str]:
    system = coding.get("system") if type(coding) is dict else None
    code = coding.get("code") if type(coding) is dict else None
    if type(system) is not str or type(code) is not str:
        return NOT_UNDERSTOOD
    if (system, code) in rules.labels:
        return frozenset({rules.labels[system, code]})
    name = SYSTEM_NAMES.get(system.partition("|")[0])
    if name is None or code not in KNOWN[name]:
        return NOT_UNDERSTOOD
    if name == "integrity":
        return NOTHING
    return frozenset({code}) | IMPLIED.get(code, NOTHING)


def _prose(resource: Any, rules: LabelRules) -> set[str]:
    """Terms in any text of the resource, attachments too; what cannot be read is not understood."""
    found: set[str] = set()
    stack = [resource]
    while stack:
        value = stack.pop()
        if type(value) is str:
            found |= rules.words(value)
        elif type(value) is list:
            stack.extend(value)
        elif type(value) is dict:
            data = value.get("data")
            if type(data) is str and ("contentType" in value or "Binary" in value.values()):
                found |= _attached(data, value.get("contentType"), rules)
            stack.extend(value.values())
    return found


def _attached(data: str, content_type: Any, rules: LabelRules) -> frozenset[str]:
    if not isinstance(content_type, str) or not content_type.lower().startswith(READABLE_TYPES):
        return NOT_UNDERSTOOD
    try:
        return rules.words(base64.b64decode(data).decode("utf-8"))
    except (binascii.Error, ValueError):
        return NOT_UNDERSTOOD


def _labels(found: frozenset[str], rules: LabelRules) -> Labels:
    return _labels_of_codes(found, tuple(sorted(rules.confidentiality.items())))


@lru_cache(LABELLED_MAX)
def _labels_of_codes(found: frozenset[str], levels: tuple[tuple[str, str], ...]) -> Labels:
    by_sensitivity = dict(levels)
    sensitivities = found & SENSITIVITIES
    ranks = [CONFIDENTIALITY.index(code) for code in found & frozenset(CONFIDENTIALITY)]
    ranks += [CONFIDENTIALITY.index(by_sensitivity.get(s, "R")) for s in sensitivities]
    if UNKNOWN in found:
        ranks.append(CONFIDENTIALITY.index(MOST_RESTRICTIVE))
    return Labels(
        confidentiality=CONFIDENTIALITY[max(ranks)] if ranks else USUAL,
        sensitivities=sensitivities,
        handling=found & (HANDLING | PURPOSES),
        unknown=UNKNOWN in found,
    )
