"""Puts dosages together: an order's segments each say a part of them.

RXO, and RXE over it, say how much; RXR by which route; each TQ1 when. So there is a dosage for
each TQ1, and all of them have the same dose and route.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.order_kinds import duration_of_quantity, time_of_day
from chartgate.transform.hl7v2.rows import Finder
from chartgate.transform.hl7v2.times import close_bounds
from chartgate.transform.hl7v2.work import Work

LIST = "dosageInstruction"
FOLDED = ("timing", "repeat", "boundsPeriod")  # elements whose parts come from several segments
DOSES = ("doseQuantity", "doseRange")

Dosage = dict[str, Any]


def put_dosages(
    work: Work,
    draft: Draft,
    *,
    routes: Iterable[Segment],
    timings: Iterable[Segment] = (),
    around: Finder | None = None,
) -> None:
    """Turns what the draft's own rows said of a dosage, and these segments, into dosages."""
    base: Dosage = {}
    for item in taken(draft, LIST):
        base = _laid(base, item)
    base = _with_routes(work, draft, base, routes)
    found: list[Dosage] = []
    for tq1 in timings:
        part = Draft(resource_type=draft.resource_type, id=draft.id)
        work.apply("TQ1.MedicationRequest", tq1, part, around=around)
        for path, value in part.puts.items():
            draft.puts.setdefault(path, value)
        draft.trace += part.trace
        said = taken(part, LIST) or [{}]
        found += [_timed(work, tq1, item, base) for item in said]
    numbered = [dosage for dosage in map(_tidy, found or [base]) if dosage]
    for number, dosage in enumerate(numbered, 1):
        sequence = {"sequence": number} if len(numbered) > 1 else {}
        draft.add(LIST, "TQ1-1", {**sequence, **dosage})


def taken(draft: Draft, path: str) -> list[dict[str, Any]]:
    """Takes the items of a list, of whichever field, out of a draft."""
    wanted = tuple(path.split("."))
    keys = [key for key in draft.lists if key[0] == wanted]
    items = [item for key in keys for item in draft.lists.pop(key)]
    return [{name: value for name, value in item.items() if name != "id"} for item in items]


def _with_routes(work: Work, draft: Draft, base: Dosage, routes: Iterable[Segment]) -> Dosage:
    """The first route; others are alternatives, which a Dosage can only say in words."""
    for number, rxr in enumerate(routes):
        part = Draft(resource_type=draft.resource_type, id=draft.id)
        work.apply(f"RXR.{draft.resource_type}", rxr, part)
        draft.trace += part.trace
        for item in taken(part, LIST)[:1]:
            name = rxr.value(1, 2) or rxr.value(1)
            if number and name:
                item = {"additionalInstruction": [{"text": f"Or by another route: {name}"}]}
            base = _laid(base, item)
    return base


def _timed(work: Work, tq1: Segment, item: Dosage, base: Dosage) -> Dosage:
    if "doseAndRate" in base:  # TQ1-2 counts what is given; RXO and RXE say how much it is
        item = {name: value for name, value in item.items() if name != "doseAndRate"}
    repeat: dict[str, Any] = {}
    times = [time_of_day(cx, work.context, {}) for cx in tq1.repetitions(4)]
    if any(times):
        repeat["timeOfDay"] = [time for time in times if time]
    for cx in tq1.repetitions(6)[:1]:
        if length := duration_of_quantity(cx):
            repeat["boundsDuration"] = length
    return _laid(_laid(base, item), {"timing": {"repeat": repeat}} if repeat else {})


def _laid(below: Mapping[str, Any], above: Mapping[str, Any]) -> Dosage:
    """What is said later over what was said before."""
    found = dict(below)
    for name, value in above.items():
        held = found.get(name)
        if held is None:
            found[name] = value
        elif name == "doseAndRate":
            doses = [k for k in DOSES if any(d in value[0] for d in DOSES)]
            found[name] = [{**{k: v for k, v in held[0].items() if k not in doses}, **value[0]}]
        elif name in FOLDED:
            found[name] = _laid(held, value)
        elif isinstance(value, list) and isinstance(held[0], dict):
            found[name] = [*held, *(item for item in value if item not in held)]
        elif name == "text" and value not in held:
            found[name] = f"{held}; {value}"
        else:
            found[name] = value
    return found


def _tidy(dosage: Dosage) -> Dosage:
    """Without what FHIR allows only together with something that was not sent."""
    timing = dict(dosage.pop("timing", {}))
    repeat = dict(timing.pop("repeat", {}))
    if ("duration" in repeat) is not ("durationUnit" in repeat):  # tim-1
        repeat.pop("duration", None)
        repeat.pop("durationUnit", None)
    if "when" in repeat:
        repeat.pop("timeOfDay", None)  # tim-10
    else:
        repeat.pop("offset", None)  # tim-9
    close_bounds(repeat)
    timing |= {"repeat": repeat} if repeat else {}
    found = {**dosage, **({"timing": timing} if timing else {})}
    for item in found.pop("doseAndRate", [])[:1]:
        dose = {n: v for n, v in item.items() if n != "rateQuantity" or "value" in v}
        if dose.keys() - {"type"}:
            found["doseAndRate"] = [dose]
    if "numerator" not in found.get("maxDosePerPeriod", {"numerator": 0}):
        del found["maxDosePerPeriod"]
    return found
