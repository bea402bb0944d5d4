"""What the charter's JSON Schema cannot say: names that exist, parts that fit together.

Every check yields sentences; nothing stops at the first. Input has the schema's shape.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from chartgate.formats import r4
from chartgate.model.charter import STAGES
from chartgate.policy.charter_shape import near
from chartgate.policy.charter_sight import sight_findings, view_findings
from chartgate.policy.content import PROTECTED
from chartgate.policy.guards import VARIABLE, parse_none_query, parse_variable
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
WRITE = re.compile(r"(\w+) ([A-Za-z]+)(?:\.(\w+))?")
WRITABLE = ("create", "update", "patch")
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
            findings.extend(_guard_findings(at, guard, action["writes"], charter["reads"]))
        for rule in action.get("rules", []):
            if rule not in RULES:
                findings.append(f"{where}.rules: there is no rule {rule}{near(rule, RULES)}")
        findings.extend(_auto_findings(where, action, charter["rollout"]))
    findings.extend(_rollout_findings(charter["rollout"]))
    for metric in charter.get("halt_when", {}):
        if metric not in METRICS:
            findings.append(f"halt_when: there is no measure {metric}{near(metric, METRICS)}")
    return findings


def _read_findings(resource_type: str, rule: Mapping[str, Any]) -> Findings:
    where = f"reads.{resource_type}"
    if not r4.is_resource_type(resource_type):
        yield _no_type("reads", resource_type)
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
            yield _no_type(f"{where}.writes", resource_type)
            continue
        names = r4.element_names(resource_type)
        if element is not None and interaction == "update":
            yield f"{where}.writes: an update replaces the whole; write patch {match[2]}.{element}"
        elif element in PROTECTED:
            yield f"{where}.writes: {resource_type}.{element} may not be written by a proposal"
        elif element is not None and element not in names:
            yield f"{where}.writes: {resource_type} has no element {element}{near(element, names)}"
        if interaction in ("update", "patch") and resource_type not in reads:
            yield (
                f"{where}.writes: {write} changes a {resource_type}, which reads does not list;"
                " what is changed must be read first"
            )


def _guard_findings(
    where: str, guard: Mapping[str, Any], writes: list[str], reads: Mapping[str, Any]
) -> Findings:
    for path in guard.get("same", []):
        yield from _path_findings(where, path, set(reads), "guards look at what is read")
    if "none" not in guard:
        return
    parsed = parse_none_query(guard["none"])
    if parsed is None:
        yield f'{where}.none must be like "Appointment?actor={{…}}&status=booked"'
        return
    resource_type, criteria = parsed
    known = r4.search_parameters(resource_type)
    if not known:
        yield _no_type(f"{where}.none", resource_type)
    for name, value in criteria:
        if known and name.partition(":")[0] not in known:
            yield f"{where}.none: {resource_type} has no search parameter {name}{near(name, known)}"
        written = {w.partition(" ")[2].partition(".")[0] for w in writes}
        for variable in VARIABLE.findall(value):
            path, target = parse_variable(variable)
            yield from _path_findings(
                f"{where}.none", path, set(reads) | written, "variables come from what is known"
            )
            if target and not r4.is_resource_type(target):
                yield _no_type(f"{where}.none", target)


def _path_findings(where: str, path: str, types: set[str], why: str) -> Findings:
    resource_type, _, rest = path.partition(".")
    if not r4.is_resource_type(resource_type):
        yield _no_type(where, resource_type)
    elif not rest or r4.find_element(resource_type, rest) is None:
        names = r4.element_names(resource_type)
        yield f"{where}: there is no {path}{near(rest.partition('.')[0], names)}"
    elif resource_type not in types:
        yield f"{where}: {path} needs {resource_type} under reads: {why}"


def _auto_findings(where: str, action: Mapping[str, Any], rollout: list[Any]) -> Findings:
    auto = action["review"].get("auto")
    stages = [s["stage"] for s in rollout]
    if auto and auto["from_stage"] not in stages:
        yield f"{where}.review.auto.from_stage: rollout has no stage {auto['from_stage']}"


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


def _no_type(where: str, name: str) -> str:
    return f"{where}: FHIR R4 has no resource type {name}{near(name, r4.resource_types())}"
