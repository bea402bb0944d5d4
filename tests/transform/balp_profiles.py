"""A small checker of FHIR profiles: enough for the differentials of IHE BALP, and no more.

Cardinality, patterns and fixed values, required bindings, slices by value or pattern (open and
closed), and the one invariant that BALP has.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

BALP = Path(__file__).parents[3] / "shared" / "corpora" / "audit" / "ihe-balp"

Element = Mapping[str, Any]


def findings(resource: Any, url: str) -> list[str]:
    """What of the resource does not hold under the profile."""
    return list(_Profile(_elements(url)).findings(resource))


@cache
def profiles() -> dict[str, Any]:
    """Every profile of the corpus, by its canonical URL."""
    read = (json.loads(p.read_bytes()) for p in BALP.glob("StructureDefinition-IHE*.json"))
    return {profile["url"]: profile for profile in read}


@cache
def _elements(url: str) -> dict[str, dict[str, Any]]:
    """The elements by id: those of the base profiles, with what each adds or changes."""
    profile = profiles()[url]
    base = profile["baseDefinition"]
    elements = {k: dict(v) for k, v in _elements(base).items()} if base in profiles() else {}
    for element in profile["differential"]["element"]:
        if ".extension" not in element["id"]:  # of SAML, which we do not speak
            elements.setdefault(element["id"], {}).update(element)
    return elements


@cache
def _value_set(url: str) -> frozenset[tuple[str, str | None]]:
    """Its codes; (system, None) where it takes all of a system."""
    name = url.rpartition("/")[2]
    composed = json.loads((BALP / f"ValueSet-{name}.json").read_bytes())["compose"]["include"]
    return frozenset(
        (include["system"], concept["code"] if concept else None)
        for include in composed
        for concept in include.get("concept") or [None]
    )


class _Profile:
    def __init__(self, elements: Mapping[str, Element]) -> None:
        self._elements = elements

    def findings(self, resource: Any) -> Iterator[str]:
        for id_, element in self._elements.items():
            holders, name = self._holders(resource, id_)
            for holder in holders:
                values = holder if name is None else _values(holder, name)
                if name is None or ":" not in name:
                    yield from self._element(id_, element, values, resource)
            if "slicing" in element:
                path, last = self._holders(resource, id_)
                for holder in path:
                    yield from self._slices(id_, element["slicing"], _values(holder, last or ""))
        yield from self._invariants(resource)

    def _holders(self, resource: Any, id_: str) -> tuple[list[Any], str | None]:
        """What holds the element of that id: all such things, and the element's name in them."""
        steps = id_.split(".")[1:]
        if not steps:
            return [], None
        holders, sofar = [resource], "AuditEvent"
        for step in steps[:-1]:
            sofar = f"{sofar}.{step}"
            name, _, slice_ = step.partition(":")
            holders = [value for holder in holders for value in _values(holder, name)]
            if slice_:
                holders = [value for value in holders if self._is_in(value, sofar)]
        return holders, steps[-1]

    def _element(
        self, id_: str, element: Element, values: list[Any], resource: Any
    ) -> Iterator[str]:
        if len(values) < element.get("min", 0):
            yield f"{id_}: {len(values)} are fewer than {element['min']}"
        if element.get("max", "*") != "*" and len(values) > int(element["max"]):
            yield f"{id_}: {len(values)} are more than {element['max']}"
        for value in values:
            if not _is_as(value, element):
                yield f"{id_}: not the value that the profile fixes or binds it to"
            targets = [t for kind in element.get("type", ()) for t in kind.get("targetProfile", ())]
            names = [target.rpartition("/")[2] for target in targets]
            reference = value.get("reference", "") if isinstance(value, dict) else ""
            if names and reference and reference.split("/")[-2:][0] not in names:
                yield f"{id_}: a reference to something else than {names}"

    def _slices(self, id_: str, slicing: Element, values: list[Any]) -> Iterator[str]:
        names = [
            other for other, e in self._elements.items()
            if other.startswith(f"{id_}:") and "." not in other[len(id_) :] and "sliceName" in e
        ]  # fmt: skip
        for name in names:
            count = sum(self._is_in(value, name) for value in values)
            element = self._elements[name]
            if count < element.get("min", 0):
                yield f"{name}: {count} are fewer than {element['min']}"
            if element.get("max", "*") != "*" and count > int(element["max"]):
                yield f"{name}: {count} are more than {element['max']}"
        if slicing["rules"] == "closed":
            for value in values:
                if not any(self._is_in(value, name) for name in names):
                    yield f"{id_}: one that is in no slice, and they are closed"

    def _is_in(self, value: Any, slice_id: str) -> bool:
        """Whether the value is in the slice, by the discriminator of what is sliced."""
        sliced = self._elements[slice_id.rpartition(":")[0]]
        for discriminator in sliced["slicing"]["discriminator"]:
            path = discriminator["path"]
            if path == "$this":
                if not _is_as(value, self._elements[slice_id]):
                    return False
                continue
            found = _values(value, path)
            if not found or not all(_is_as(v, self._elements[f"{slice_id}.{path}"]) for v in found):
                return False
        return True

    def _invariants(self, resource: Any) -> Iterator[str]:
        """val-audit-source: the observer is that agent too."""
        for id_, element in self._elements.items():
            for constraint in element.get("constraint", ()):
                assert constraint["expression"] == "$this.who = %resource.source.observer"
                for agent in resource.get("agent", ()):
                    if self._is_in(agent, id_) and agent["who"] != resource["source"]["observer"]:
                        yield f"{id_}: {constraint['human']}"


def _values(holder: Any, name: str) -> list[Any]:
    value = holder.get(name) if isinstance(holder, dict) else None
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _is_as(value: Any, element: Element) -> bool:
    for key, wanted in element.items():
        if key.startswith(("pattern", "fixed")) and not _contains(value, wanted):
            return False
    binding = element.get("binding")
    if binding and binding["strength"] == "required" and "ihe.net" in binding["valueSet"]:
        codes = _value_set(binding["valueSet"])
        codings = value.get("coding", [value])
        return any(
            (c.get("system"), c.get("code")) in codes or (c.get("system"), None) in codes
            for c in codings
        )
    return True


def _contains(value: Any, pattern: Any) -> bool:
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            name in value and _contains(value[name], wanted) for name, wanted in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(_contains(one, wanted) for one in value) for wanted in pattern
        )
    return bool(value == pattern and isinstance(value, bool) == isinstance(pattern, bool))
