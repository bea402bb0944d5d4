"""FHIR JSON as rows that a person reads: a label and a text, no braces."""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chartgate.model.proposal import Difference

ROWS_MAX = 60  # of one resource
TEXT_MAX = 4_000  # characters of one value
SKIPPED = frozenset({"resourceType", "id", "meta"})
WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One element."""

    label: str
    text: str


@dataclass(frozen=True, kw_only=True)
class DiffRow:
    """One element that would change. `kind` is added, removed or changed."""

    label: str
    before: str
    after: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class DiffGroup:
    """What would change in one resource."""

    reference: str
    rows: tuple[DiffRow, ...]


def rows_of(resource: dict[str, Any]) -> tuple[Row, ...]:
    """The elements of a resource, leaf by leaf, in its own order."""
    found: list[Row] = []
    for path, value in _leaves(resource, ""):
        if len(found) == ROWS_MAX:
            found.append(Row(label="…", text="more elements are not shown here"))
            break
        found.append(Row(label=label_of(path), text=text_of(value)))
    return tuple(found)


def groups_of(differences: Sequence[Difference]) -> tuple[DiffGroup, ...]:
    """Differences by resource, in their order. Base64 is left out where its text is shown."""
    decoded = {
        (d.reference, d.path.removesuffix(" (text)"))
        for d in differences
        if d.path.endswith(" (text)")
    }
    groups: dict[str, list[DiffRow]] = {}
    for difference in differences:
        rows = groups.setdefault(difference.reference, [])
        if (difference.reference, difference.path) not in decoded:
            rows.append(_diff_row(difference))
    return tuple(DiffGroup(reference=r, rows=tuple(rows)) for r, rows in groups.items())


def _diff_row(difference: Difference) -> DiffRow:
    kind = "changed"
    if difference.before is None:
        kind = "added"
    elif difference.after is None:
        kind = "removed"
    return DiffRow(
        label=label_of(difference.path),
        before=text_of(difference.before),
        after=text_of(difference.after),
        kind=kind,
    )


def label_of(path: str) -> str:
    """ "participant[1].actor.reference" as "Participant 2 · actor"."""
    path = path.removesuffix(" (text)").removesuffix(".reference")
    parts = []
    for part in path.split("."):
        name, _, index = part.partition("[")
        words = WORDS.sub(" ", name).lower()
        number = index.rstrip("]")
        parts.append(f"{words} {int(number) + 1}" if number.isdigit() and number != "0" else words)
    text = " · ".join(parts)
    return text[:1].upper() + text[1:]


def text_of(value: Any) -> str:
    """A value as text; what is not there is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return "; ".join(f"{label_of(p)}: {text_of(v)}" for p, v in _leaves(value, ""))[:TEXT_MAX]
    return str(value)[:TEXT_MAX]


def attachment_text(resource: dict[str, Any] | None) -> str | None:
    """The first plain-text attachment of a DocumentReference, decoded; None if there is none."""
    for content in (resource or {}).get("content", []):
        attachment = content.get("attachment", {}) if isinstance(content, dict) else {}
        if str(attachment.get("contentType", "")).startswith("text/plain"):
            try:
                return base64.b64decode(attachment.get("data", ""), validate=True).decode("utf-8")
            except (binascii.Error, UnicodeDecodeError):
                return None
    return None


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            if path or key not in SKIPPED:
                yield from _leaves(child, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _leaves(child, f"{path}[{index}]")
    else:
        yield path, value
