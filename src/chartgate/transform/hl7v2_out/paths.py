"""Paths into a resource, as the tables write them.

`name[0].family` is a step down; lists are gone through. A step may pick: by number (`[0]`), by the
type that an item refers to (`participant[Practitioner]`), by an element (`telecom[use=work]`, or
`[use!=work]`). `->` goes to the resource that is referred to, also at the end; where that is not known,
the reference itself stands for it.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Resolve = Callable[[Any], Any]  # a Reference to what it refers to; itself where that is not known

STEP = re.compile(r"([A-Za-z]\w*)(?:\[(?:(\d+)|([A-Z]\w*)|(\w+)(!?=)([\w-]+))\])?")


class BadPath(ValueError):
    """A path that cannot be read."""


def found(root: Any, path: str, resolve: Resolve) -> list[Any]:
    """All that the path leads to. Raises BadPath."""
    items = [root]
    for arrow, step in steps(path):
        items = [resolve(item) for item in items] if arrow else items
        items = _stepped(items, step) if step else items
    return items


def first_element(path: str) -> str:
    """The element of the root that a path goes through."""
    step = steps(path)[0][1]
    return str(step[1]) if step else ""


@lru_cache(maxsize=1024)
def steps(path: str) -> tuple[tuple[bool, re.Match[str] | None], ...]:
    """Each step, and whether an arrow leads to it; an arrow at the end has none. Raises BadPath."""
    made: list[tuple[bool, re.Match[str] | None]] = []
    parts = re.split(r"(\.|->)", path)
    for mark, part in zip([".", *parts[1::2]], parts[::2], strict=True):
        match = STEP.fullmatch(part)
        at_the_end = not part and mark == "->" and path.endswith("->")
        if match is None and not at_the_end:
            raise BadPath(f"{path} is no path")
        made.append((mark == "->", match))
    return tuple(made)


def _stepped(items: list[Any], step: re.Match[str]) -> list[Any]:
    name, number, kind, key, sign, value = step.groups()
    inner = list(_inner(items, name))
    if number is not None:
        return inner[int(number) : int(number) + 1]
    if kind is not None:
        return [item for item in inner if type_of(item) == kind]
    if key is not None:
        return [i for i in inner if isinstance(i, dict) and (i.get(key) == value) == (sign == "=")]
    return inner


def _inner(items: list[Any], name: str) -> Iterator[Any]:
    for item in items:
        value = item.get(name) if isinstance(item, dict) else None
        if isinstance(value, list):
            yield from value
        elif value is not None:
            yield value


def type_of(item: Any) -> str:
    """The type that an item refers to, by itself or by its actor: "Practitioner"."""
    if not isinstance(item, dict):
        return ""
    holder = item.get("actor", item)
    reference = holder.get("reference") if isinstance(holder, dict) else None
    if isinstance(reference, str) and "/" in reference:
        return reference.split("/")[-2]
    declared = holder.get("type") if isinstance(holder, dict) else None
    return declared if isinstance(declared, str) else ""
