"""Known-bad versions of a proposal, put before reviewers to see whether they are caught.

Each template takes the changes of a real proposal and makes one mistake in them that a person who
looks would see. What comes out is well-formed, about the same patient, and never written.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from chartgate.model.write import Change

UNITS: Mapping[str, str] = {  # by a factor of a thousand, as the mistake is made
    "mg": "g", "g": "mg", "ug": "mg", "mcg": "mg", "µg": "mg", "kg": "g", "mL": "L", "ml": "l",
    "L": "mL", "mmol": "mol", "mmol/L": "mol/L", "mg/dL": "g/dL", "g/dL": "mg/dL",
}  # fmt: skip
OPPOSITES: Mapping[str, str] = {  # of states, whatever they are states of
    "booked": "cancelled", "proposed": "cancelled", "pending": "cancelled", "arrived": "noshow",
    "accepted": "rejected", "requested": "cancelled", "in-progress": "failed",
    "completed": "failed", "active": "stopped", "current": "entered-in-error",
    "final": "cancelled", "preliminary": "entered-in-error", "confirmed": "refuted",
}  # fmt: skip
SIDES: Mapping[str, str] = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
SIDE = re.compile(r"\b(?:left|right|Left|Right)\b")
TIMES = ("start", "end", "date", "authoredOn", "occurrenceDateTime", "effectiveDateTime", "issued")
WORDS = ("text", "comment", "description", "patientInstruction")
AWAY = timedelta(days=364)  # the same day of the week, which is how it is overlooked
NOBODY = "Patient: Jordan Example, born 1 January 1931"  # whom nobody has in their care


@dataclass(frozen=True, kw_only=True)
class Seed:
    """One known-bad version."""

    name: str  # of its template
    changes: tuple[Change, ...]


# What was wrong, for whoever decided on it. Without patient data: it stands in plain text.
SENTENCES: Mapping[str, str] = {
    "unit": "a quantity had another unit",
    "tenfold": "a quantity was ten times as large",
    "day": "it was dated by almost a year off",
    "name": "its text was about another patient",
    "side": "its text said left for right",
    "status": "its status was the opposite of what was meant",
}


def bad_versions(changes: Sequence[Change]) -> tuple[Seed, ...]:
    """A version for each template that finds something to get wrong, in the order of names."""
    found = []
    for name, mistake in sorted(TEMPLATES.items()):
        wrong = _with(changes, mistake)
        if wrong is not None:
            found.append(Seed(name=name, changes=wrong))
    return tuple(found)


# Of one key and its value: the wrong value. None: nothing to get wrong there.
Mistake = Callable[[str, Any], Any]


def _with(changes: Sequence[Change], mistake: Mistake) -> tuple[Change, ...] | None:
    """The changes with the mistake made in the first of them that has room for it."""
    for index, change in enumerate(changes):
        wrong = _change_with(change, mistake)
        if wrong != change:
            return (*changes[:index], wrong, *changes[index + 1 :])
    return None


def _change_with(change: Change, mistake: Mistake) -> Change:
    if change.resource is not None:
        return replace(change, resource=_mistaken("", change.resource, mistake))
    return replace(change, patch=tuple(_operation_with(o, mistake) for o in change.patch))


def _operation_with(operation: dict[str, Any], mistake: Mistake) -> dict[str, Any]:
    """A `test` says what is there, which stays true."""
    if "value" not in operation or operation["op"] == "test":
        return operation
    wrong = _mistaken(_last(operation["path"]), operation["value"], mistake)
    return {**operation, "value": wrong}


def _last(pointer: str) -> str:
    """The name at the end of a JSON pointer, past places in lists."""
    names = [part for part in pointer.split("/") if part and not part.isdigit() and part != "-"]
    return names[-1] if names else ""


def _mistaken(key: str, value: Any, mistake: Mistake) -> Any:
    wrong = mistake(key, value)
    if wrong is not None:
        return wrong
    if isinstance(value, dict):
        return {k: _mistaken(k, v, mistake) for k, v in value.items()}
    if isinstance(value, list):
        return [_mistaken(key, v, mistake) for v in value]
    return value


def _unit(key: str, value: Any) -> Any:
    if not _is_quantity(value):
        return None
    return {k: UNITS.get(v, v) if k in ("unit", "code") else v for k, v in value.items()}


def _tenfold(key: str, value: Any) -> Any:
    return {**value, "value": value["value"] * 10} if _is_quantity(value) else None


def _is_quantity(value: Any) -> bool:
    """With a number that is not 0 and says of what."""
    if not isinstance(value, dict) or not value.keys() & {"unit", "code"}:
        return False
    number = value.get("value")
    return isinstance(number, int | float) and not isinstance(number, bool) and number != 0


def _day(key: str, value: Any) -> Any:
    if key not in TIMES or not isinstance(value, str):
        return None
    try:
        when = datetime.fromisoformat(value) + AWAY
    except (ValueError, OverflowError):
        return None
    day = when.date().isoformat()
    return day + value[10:] if len(value) >= 10 else None


def _status(key: str, value: Any) -> Any:
    return OPPOSITES.get(value) if key == "status" and isinstance(value, str) else None


def _name(key: str, value: Any) -> Any:
    return None if key == "text" else _worded(key, value, lambda text: f"{NOBODY}\n{text}")


def _side(key: str, value: Any) -> Any:
    def swapped(text: str) -> str:
        return SIDE.sub(lambda m: SIDES[m[0]], text)

    return _worded(key, value, swapped)


def _worded(key: str, value: Any, change: Callable[[str], str]) -> Any:
    """A text, or an attachment of one, with other words."""
    if isinstance(value, str) and key in WORDS:
        return change(value)
    if not isinstance(value, dict) or not isinstance(value.get("data"), str):
        return None
    if not str(value.get("contentType")).startswith("text/plain"):
        return None
    try:
        text = base64.b64decode(value["data"], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    wrong = change(text)
    if wrong == text:
        return None
    attachment = {k: v for k, v in deepcopy(value).items() if k not in ("size", "hash")}
    return {**attachment, "data": base64.b64encode(wrong.encode()).decode()}


TEMPLATES: Mapping[str, Mistake] = {
    "unit": _unit,
    "tenfold": _tenfold,
    "day": _day,
    "name": _name,
    "side": _side,
    "status": _status,
}
