"""The on-call roster: its file, and where it sends work at some moment.

It says who has a worklist when, and where work goes that nobody takes on. It gives no rights: work
goes only to worklists that the charter of the action names, and to people who may see it there.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from chartgate.errors import ConfigError, Invalid
from chartgate.formats.strict_yaml import load_yaml
from chartgate.model.charter import ActionRule, Charter
from chartgate.model.roster import Duty, EscalationStep, Roster, Shift, Target
from chartgate.policy.charter_shape import near
from chartgate.policy.durations import DURATION, duration_s
from chartgate.policy.hours import calendar_of, covers, hours_of

FILE = "roster.yaml"
KEYS = ("zone", "holidays", "worklists")
DUTY_KEYS = ("on_call", "escalate")
SHIFT_KEYS = ("days", "from", "to", "worklist", "person")
STEP_KEYS = ("after", "to", "person")
HOPS_MAX = 5  # from one worklist to who has it, and so on
ENTRIES_MAX = 200  # of one worklist
STEPS_MAX = 20


def routed(roster: Roster, worklist: str, at: datetime, *, allowed: Collection[str]) -> Target:
    """Who has this worklist then. What the charter does not allow is passed over, so that work is
    never sent where nobody may see it."""
    target = Target(worklist=worklist)
    met = {worklist}
    for _ in range(HOPS_MAX):
        found = _on_call(roster, target.worklist, at)
        if found is None:
            break
        target = replace(target, person=found.person)
        if not found.worklist or found.worklist in met or found.worklist not in allowed:
            break
        met.add(found.worklist)
        target = replace(found)
    return target


def steps_of(roster: Roster, action: ActionRule) -> tuple[EscalationStep, ...]:
    """The escalation chain of an action: the charter's own, else the roster's for its worklist."""
    duty = roster.duties.get(action.handoff_to)
    return action.handoff_escalate or (duty.steps if duty else ())


def escalated(
    roster: Roster, step: EscalationStep, worklist: str, at: datetime, *, allowed: Collection[str]
) -> Target:
    """Where one step takes work that is on this worklist now."""
    there = step.target.worklist
    if there not in allowed:
        there = worklist
    person = step.target.person
    return (
        Target(worklist=there, person=person)
        if person
        else routed(roster, there, at, allowed=allowed)
    )


def roster_notes(roster: Roster, charters: Mapping[str, Charter]) -> tuple[str, ...]:
    """What of it will have no effect, in sentences: worklists that no charter names."""
    rules = [rule for charter in charters.values() for rule in charter.proposes.values()]
    known = {worklist for rule in rules for worklist in rule.worklists}
    found = {
        name: f"{FILE}: worklists.{name}: no charter sends work there{near(name, known)}"
        for name in roster.duties
        if name not in known
    }
    for name, duty in roster.duties.items():
        targets = [shift.target for shift in duty.shifts] + [step.target for step in duty.steps]
        for target in targets:
            if target.worklist and target.worklist not in known:
                found[target.worklist] = (
                    f"{FILE}: worklists.{name}: no charter names the worklist {target.worklist}; "
                    "list it under otherwise.worklists of those that should reach it"
                    + near(target.worklist, known)
                )
    return tuple(found[name] for name in sorted(found))


def parse_roster(body: bytes, *, file: str = FILE) -> Roster:
    """Raises ConfigError with every mistake, a line each."""
    try:
        value = load_yaml(body)
    except Invalid as error:
        raise ConfigError(f"{file}: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("worklists"), dict):
        raise ConfigError(f"{file} must be a mapping with the keys zone and worklists")
    mistakes = list(_unknown("", value, KEYS))
    duties = {name: _duty(name, duty, mistakes) for name, duty in value["worklists"].items()}
    calendar = None
    try:
        calendar = calendar_of(value.get("zone"), value.get("holidays", []))
    except ConfigError as error:
        mistakes.append(str(error))
    mistakes += _circles(duties)
    if mistakes or calendar is None:
        raise ConfigError("\n".join(f"{file}: {m}" for m in mistakes))
    return Roster(calendar=calendar, duties=duties, digest=hashlib.sha256(body).hexdigest())


def steps_from(value: Sequence[Mapping[str, Any]]) -> tuple[EscalationStep, ...]:
    """The steps of a list that has the right shape."""
    return tuple(
        EscalationStep(
            after_s=duration_s(step["after"]),
            target=Target(worklist=step.get("to", ""), person=step.get("person", "")),
        )
        for step in value
    )


def _on_call(roster: Roster, worklist: str, at: datetime) -> Target | None:
    duty = roster.duties.get(worklist)
    if duty is None:
        return None
    return next((s.target for s in duty.shifts if covers(s.hours, roster.calendar, at)), None)


def _duty(name: str, value: Any, mistakes: list[str]) -> Duty:
    where = f"worklists.{name}"
    if not isinstance(value, dict):
        mistakes.append(f"{where} must have the keys on_call or escalate")
        return Duty()
    mistakes += _unknown(where, value, DUTY_KEYS)
    shifts = _entries(where, "on_call", value, SHIFT_KEYS, ENTRIES_MAX, mistakes)
    steps = _entries(where, "escalate", value, STEP_KEYS, STEPS_MAX, mistakes)
    return Duty(
        shifts=tuple(s for at, v in shifts if (s := _shift(at, v, mistakes))),
        steps=steps_from([v for at, v in steps if _is_step(at, v, mistakes)]),
    )


def _entries(
    where: str,
    key: str,
    value: Mapping[str, Any],
    known: Sequence[str],
    count_max: int,
    mistakes: list[str],
) -> list[tuple[str, dict[str, Any]]]:
    listed = value.get(key, [])
    if not isinstance(listed, list) or not all(isinstance(v, dict) for v in listed):
        mistakes.append(f"{where}.{key} must be a list of mappings")
        return []
    if len(listed) > count_max:
        mistakes.append(f"{where}.{key} has over {count_max} entries")
    found = [(f"{where}.{key}[{index}]", entry) for index, entry in enumerate(listed)]
    for at, entry in found:
        mistakes += _unknown(at, entry, known)
    return found


def _shift(where: str, value: dict[str, Any], mistakes: list[str]) -> Shift | None:
    try:
        hours = hours_of(value)
    except ConfigError as error:
        mistakes.append(f"{where}: {error}")
        return None
    if not _names(where, value, ("worklist", "person"), mistakes):
        return None
    target = Target(worklist=value.get("worklist", ""), person=value.get("person", ""))
    return Shift(hours=hours, target=target)


def _is_step(where: str, value: dict[str, Any], mistakes: list[str]) -> bool:
    after = value.get("after")
    if not isinstance(after, str) or not DURATION.fullmatch(after):
        mistakes.append(f"{where}: after must be a duration such as 10m")
        return False
    return _names(where, value, ("to", "person"), mistakes)


def _names(
    where: str, value: Mapping[str, Any], keys: tuple[str, str], mistakes: list[str]
) -> bool:
    given = [value[key] for key in keys if key in value]
    if given and all(isinstance(name, str) and name.strip() for name in given):
        return True
    mistakes.append(f"{where} needs {keys[0]} or {keys[1]}, each a name")
    return False


def _circles(duties: Mapping[str, Duty]) -> Iterator[str]:
    """Worklists that have one another at all times would send work round."""
    for name, duty in duties.items():
        for shift in duty.shifts:
            if shift.target.worklist == name:
                yield f"worklists.{name}.on_call: it names itself; leave worklist out"


def _unknown(where: str, value: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    for key in value:
        if key not in known:
            yield f"{where or 'the roster'}: there is no key {key}{near(key, known)}"
