"""Whether two versions say the same, beyond what a server fills in by itself."""

from collections.abc import Iterator, Sequence
from typing import Any

import jsonpatch

from chartgate.adapters.fhir_r4.marks import without_marker
from chartgate.model.resource import Resource

SERVERS_OWN = ("id", "text", "meta.versionId", "meta.lastUpdated", "meta.source")


def comparable(resource: Resource, ignored: Sequence[str]) -> Resource:
    """A copy without our marker, the server's own elements and the dialect's."""
    bare = without_marker(resource)
    for path in (*SERVERS_OWN, *ignored):
        _drop(bare, path.split("."))
    return bare


def differing_paths(expected: Resource, actual: Resource, ignored: Sequence[str]) -> list[str]:
    """Paths such as `participant[1].status` in which `actual` is not what was expected."""
    return list(_walk(comparable(expected, ignored), comparable(actual, ignored), ""))


def patched(resource: Resource, operations: Sequence[dict[str, Any]]) -> Resource | None:
    """The resource after a JSON Patch; None if the patch does not apply to it."""
    try:
        result: Any = jsonpatch.apply_patch(resource, list(operations))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError):
        return None
    return result if isinstance(result, dict) else None


def undone_operations(resource: Resource, operations: Sequence[dict[str, Any]]) -> list[str]:
    """Paths of a patch that do not hold in `resource`: all that can be said without its
    pre-image. Removals from lists and moves cannot be told, and are passed over."""
    last = {op["path"]: op for op in operations if op.get("op") in ("add", "replace", "remove")}
    return [path for path, operation in last.items() if not _holds(resource, operation)]


def _holds(resource: Resource, operation: dict[str, Any]) -> bool:
    *parents, name = operation["path"].removeprefix("/").split("/")
    holder: Any = resource
    for part in parents:
        holder = _step(holder, part)
    if operation["op"] == "remove":
        return not (isinstance(holder, dict) and _plain(name) in holder)
    if isinstance(holder, list):
        return operation["value"] in holder
    return bool(_step(holder, name) == operation["value"])


def _step(holder: Any, name: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(_plain(name))
    if isinstance(holder, list) and name.isdecimal() and int(name) < len(holder):
        return holder[int(name)]
    return None


def _plain(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")


def _drop(holder: dict[str, Any], path: list[str]) -> None:
    """Removes a path; parents are copied on the way, and dropped once they are empty."""
    name, *rest = path
    if name not in holder:
        return
    if not rest:
        del holder[name]
    elif isinstance(holder[name], dict):
        holder[name] = dict(holder[name])
        _drop(holder[name], rest)
        if not holder[name]:
            del holder[name]


def _walk(expected: Any, actual: Any, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name in sorted(expected.keys() | actual.keys()):
            below = f"{path}.{name}" if path else name
            if name not in expected or name not in actual:
                yield below
            else:
                yield from _walk(expected[name], actual[name], below)
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (left, right) in enumerate(zip(expected, actual, strict=True)):
            yield from _walk(left, right, f"{path}[{index}]")
    elif expected != actual or isinstance(expected, bool) != isinstance(actual, bool):
        yield path
