"""What the charter's JSON Schema cannot say: names that exist, parts that fit together.

Every check yields sentences; nothing stops at the first. Input has the schema's shape.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from chartgate.errors import ConfigError
from chartgate.formats import r4
from chartgate.model.charter import STAGES
from chartgate.policy.action_checks import element_findings, guard_findings, no_type
from chartgate.policy.action_parts import WRITE
from chartgate.policy.charter_review import review_findings
from chartgate.policy.charter_shape import near
from chartgate.policy.charter_sight import sight_findings, view_findings
from chartgate.policy.content import PROTECTED
from chartgate.policy.hours import calendar_of, hours_of
from chartgate.policy.minimise import NEVER_SHOWN, kept_elements, listable_elements
from chartgate.policy.rules import RULES

METRICS = (
    "agreement",
    "approval",
    "approved_unedited",
    "error_rate",
    "n",
    "verify_mismatch",
    "wrong_patient",
)
WRITABLE = ("create", "update", "patch", "status", "cancel")
# Parameters that every type has and that look at nothing a charter would hide.
PARAMETERS_COMMON = ("_id", "_lastUpdated")

Findings = Iterator[str]


def content_findings(charter: Mapping[str, Any]) -> list[str]:
    """A sentence for each thing that is well-shaped and still wrong."""
    findings: list[str] = []
    for resource_type, rule in charter["reads"].items():
        findings.extend(_read_findings(resource_type, rule))
        findings.extend(sight_findings(resource_type, rule))
    findings.extend(view_findings(charter))
    for name, action in charter.get("proposes", {}).items():
        where = f"proposes.{name}"
        findings.extend(_write_findings(where, action["writes"], charter["reads"]))
        for index, guard in enumerate(action.get("guards", [])):
            at = f"{where}.guards[{index}]"
            findings.extend(guard_findings(at, guard, action["writes"], charter["reads"]))
        findings.extend(element_findings(where, action))
        for rule in action.get("rules", []):
            if rule not in RULES:
                findings.append(f"{where}.rules: there is no rule {rule}{near(rule, RULES)}")
        for site in action.get("through", {}):
            if site not in charter["sites"]:
                known = near(site, charter["sites"])
                findings.append(f"{where}.through: sites has no site {site}{known}")
        findings.extend(_auto_findings(where, action, charter["rollout"]))
        findings.extend(review_findings(where, action))
    findings.extend(_hours_findings(charter.get("hours")))
    findings.extend(_rollout_findings(charter["rollout"]))
    for metric in charter.get("halt_when", {}):
        if metric not in METRICS:
            findings.append(f"halt_when: there is no measure {metric}{near(metric, METRICS)}")
    return findings


def _read_findings(resource_type: str, rule: Mapping[str, Any]) -> Findings:
    where = f"reads.{resource_type}"
    if not r4.is_resource_type(resource_type):
        yield no_type("reads", resource_type)
        return
    names = r4.element_names(resource_type)
    elements = rule["elements"]
    if isinstance(elements, str):
        elements = sorted(listable_elements(resource_type))
    for element in elements:
        if element in NEVER_SHOWN:
            yield f"{where}.elements: {element} is never shown, for narrative repeats what is hidden"
        elif element not in names:
            yield f"{where}.elements: {resource_type} has no element {element}{near(element, names)}"
    readable = set(elements) | kept_elements(resource_type)
    for name in rule.get("search", []):
        yield from _parameter_findings(where, resource_type, name, readable)


def _parameter_findings(where: str, resource_type: str, name: str, readable: set[str]) -> Findings:
    known = r4.search_parameters(resource_type)
    parameter = known.get(name)
    if parameter is None:
        yield f"{where}.search: {resource_type} has no search parameter {name}{near(name, known)}"
    elif name in PARAMETERS_COMMON:
        return
    elif name.startswith("_") or not parameter.elements:
        yield f"{where}.search: {name} cannot be allowed, for it may look at what is not readable"
    else:
        hidden = [e for e in parameter.elements if e not in readable]
        if hidden:
            yield (
                f"{where}.search: {name} looks at {', '.join(hidden)}, which elements does not"
                " list; what may not be read may not be searched"
            )


def _write_findings(where: str, writes: list[str], reads: Mapping[str, Any]) -> Findings:
    for write in writes:
        match = WRITE.fullmatch(write)
        if match is None:
            yield f'{where}.writes: "{write}" must be like "create Appointment" or "patch Slot.status"'
            continue
        interaction, resource_type, element = match.groups()
        if interaction == "delete":
            yield f"{where}.writes: an AI may not propose to delete; propose a status instead"
        elif interaction not in WRITABLE:
            yield f"{where}.writes: there is no write {interaction}{near(interaction, WRITABLE)}"
        if not r4.is_resource_type(resource_type):
            yield no_type(f"{where}.writes", resource_type)
            continue
        yield from _element_findings(f"{where}.writes", interaction, resource_type, element)
        if interaction in WRITABLE[1:] and resource_type not in reads:
            yield (
                f"{where}.writes: {write} changes a {resource_type}, which reads does not list;"
                " what is changed must be read first"
            )


def _element_findings(
    where: str, interaction: str, resource_type: str, element: str | None
) -> Findings:
    names = r4.element_names(resource_type)
    if element is not None and interaction == "update":
        yield f"{where}: an update replaces the whole; write patch {resource_type}.{element}"
    elif interaction in ("status", "cancel") and (element or "status" not in names):
        yield f"{where}: {interaction} is for a type with a status, and names no element"
    elif element in PROTECTED:
        yield f"{where}: {resource_type}.{element} may not be written by a proposal"
    elif element is not None and element not in names:
        yield f"{where}: {resource_type} has no element {element}{near(element, names)}"


def _auto_findings(where: str, action: Mapping[str, Any], rollout: list[Any]) -> Findings:
    auto = action["review"].get("auto")
    stages = [s["stage"] for s in rollout]
    if auto and auto["from_stage"] not in stages:
        yield f"{where}.review.auto.from_stage: rollout has no stage {auto['from_stage']}"


def _hours_findings(hours: dict[str, Any] | None) -> Findings:
    if hours is None:
        return
    try:
        hours_of(hours)
        calendar_of(hours["zone"], hours.get("holidays", []))
    except ConfigError as error:
        yield f"hours: {error}"


def _rollout_findings(rollout: list[Mapping[str, Any]]) -> Findings:
    order = [STAGES.index(s["stage"]) for s in rollout]
    if order != sorted(set(order)):
        yield f"rollout: stages stand once each, in the order {', '.join(STAGES)}"
    for index, stage in enumerate(rollout):
        if stage["stage"] == "pilot" and "units" not in stage:
            yield f"rollout[{index}]: a pilot needs the key units"
        if stage["stage"] == "canary" and "share" not in stage:
            yield f"rollout[{index}]: a canary needs the key share, e.g. 10%"
        for metric in stage.get("gate", {}):
            if metric not in METRICS:
                yield f"rollout[{index}].gate: there is no measure {metric}{near(metric, METRICS)}"
