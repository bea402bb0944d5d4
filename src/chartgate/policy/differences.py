"""What would change, field by field, computed by us from the data and never from the AI's words."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonpatch
import jsonpointer

from chartgate.errors import TooLarge, Unprocessable
from chartgate.model.proposal import Content, Difference, content_digest
from chartgate.model.resource import Resource
from chartgate.model.write import Change

DIFFERENCES_MAX = 2000  # more than anyone can review
TEXT_LENGTH_MAX = 200_000
TEXT_VIEW = " (text)"  # ends the path of a decoded attachment
SERVER_OWNED = ("versionId", "lastUpdated")  # of meta: each save changes them


def after_images(
    changes: Sequence[Change], before: Mapping[str, Resource]
) -> tuple[Resource | None, ...]:
    """What each change leaves behind; None after a delete. `before` is by reference.

    Raises Unprocessable if a patch does not fit what it patches.
    """
    return tuple(_after(c, before) for c in changes)


def differences(
    changes: Sequence[Change], before: Mapping[str, Resource]
) -> tuple[Difference, ...]:
    """Each leaf that would change, in the order of the changes, then of the paths.

    A text attachment has one more line, with the text itself, so that a reviewer can read it.
    """
    found: list[Difference] = []
    afters = after_images(changes, before)
    for label, change, after in zip(labels(changes), changes, afters, strict=True):
        held = before.get(change.reference or "")
        for path, old, new in leaf_changes(
            _without_server_owned(held), _without_server_owned(after)
        ):
            found.append(Difference(reference=label, path=path, before=old, after=new))
        found.extend(_text_differences(label, held, after))
        if len(found) > DIFFERENCES_MAX:
            raise TooLarge(f"the proposal changes over {DIFFERENCES_MAX} elements")
    return tuple(found)


def content_of(
    changes: Sequence[Change],
    before: Mapping[str, Resource],
    *,
    version: int,
    edited_by: str | None = None,
) -> Content:
    """Changes with their differences and the digest that an approval is bound to."""
    found = differences(changes, before)
    return Content(
        version=version,
        changes=tuple(changes),
        differences=found,
        digest=content_digest(changes, found),
        edited_by=edited_by,
    )


def leaf_changes(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, before, after) of each leaf that differs. None: not there.

    Lists are compared index by index, as a patch addresses them. An empty object or list is a
    leaf of its own.
    """
    if isinstance(before, dict) and isinstance(after, dict) and before and after:
        for name in dict.fromkeys([*before, *after]):
            inner = f"{path}.{name}" if path else name
            yield from leaf_changes(before.get(name), after.get(name), inner)
    elif isinstance(before, list) and isinstance(after, list) and before and after:
        for index in range(max(len(before), len(after))):
            yield from leaf_changes(
                before[index] if index < len(before) else None,
                after[index] if index < len(after) else None,
                f"{path}[{index}]",
            )
    elif not _same(before, after):
        yield from _one_sided(before, after, path)


def _one_sided(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """A leaf, or the leaves of what came or went; both where one kind took another's place."""
    gone, come = dict(_leaves(before, path)), dict(_leaves(after, path))
    for place in dict.fromkeys([*gone, *come]):
        yield place, gone.get(place), come.get(place)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    elif value is not None:
        yield path, value


def _same(before: Any, after: Any) -> bool:
    """Equal, and of one JSON type: 1 is not true, 1.0 is not 1 to a chart."""
    return type(before) is type(after) and before == after


def _after(change: Change, before: Mapping[str, Resource]) -> Resource | None:
    if change.interaction == "delete":
        return None
    if change.resource is not None:
        return change.resource
    held = before.get(change.reference or "")
    if held is None:
        raise Unprocessable(f"{change.reference} was not read, so nothing can be patched")
    try:
        after: Resource = jsonpatch.apply_patch(held, list(change.patch), in_place=False)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError):
        raise Unprocessable(f"the patch does not fit {change.reference}") from None
    if not isinstance(after, dict):
        raise Unprocessable(f"the patch leaves no resource of {change.reference}")
    return after


def labels(changes: Sequence[Change]) -> list[str]:
    """ "Slot/12", "Appointment (new)"; a second new one of a type is "Appointment (new 2)"."""
    created: dict[str, int] = {}
    found = []
    for change in changes:
        if change.interaction != "create":
            found.append(change.reference or change.resource_type)
            continue
        count = created[change.resource_type] = created.get(change.resource_type, 0) + 1
        found.append(f"{change.resource_type} (new{f' {count}' if count > 1 else ''})")
    return found


def _without_server_owned(resource: Resource | None) -> Resource | None:
    meta = resource.get("meta") if resource else None
    if resource is None or not isinstance(meta, dict):
        return resource
    kept = {k: v for k, v in meta.items() if k not in SERVER_OWNED}
    return (
        {**resource, "meta": kept} if kept else {k: v for k, v in resource.items() if k != "meta"}
    )


def _text_differences(
    label: str, before: Resource | None, after: Resource | None
) -> Iterator[Difference]:
    old, new = dict(_texts(before, "")), dict(_texts(after, ""))
    for path in dict.fromkeys([*old, *new]):
        if old.get(path) != new.get(path):
            yield Difference(
                reference=label, path=path + TEXT_VIEW, before=old.get(path), after=new.get(path)
            )


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, text) of each base64 attachment whose content type is a text's."""
    if isinstance(value, dict):
        text = _decoded(value)
        if text is not None:
            yield f"{path}.data", text
        for name, inner in value.items():
            yield from _texts(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, f"{path}[{index}]")


def _decoded(attachment: Mapping[str, Any]) -> str | None:
    content_type, data = attachment.get("contentType"), attachment.get("data")
    if not isinstance(content_type, str) or not isinstance(data, str):
        return None
    if not content_type.lower().startswith("text/"):
        return None
    try:
        text = base64.b64decode("".join(data.split()), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return text[:TEXT_LENGTH_MAX]
