"""Charters: from a file's bytes to the records that everything else derives from."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chartgate.errors import ChartgateError, ConfigError, Invalid, NotFound
from chartgate.formats.canonical import canonical_bytes
from chartgate.formats.strict_yaml import load_yaml
from chartgate.model.charter import (
    ActionRule,
    AutoRule,
    Charter,
    ReadRule,
    Stage,
)
from chartgate.model.roster import OpenHours, Roster
from chartgate.policy.action_parts import guard_rules, value_rules, write_rules
from chartgate.policy.cedar import Rulebook, compile_rulebook
from chartgate.policy.charter_checks import content_findings
from chartgate.policy.charter_shape import CHARTER_SCHEMA, shape_findings
from chartgate.policy.durations import duration_s
from chartgate.policy.forbids import ForbidText
from chartgate.policy.hours import calendar_of, hours_of
from chartgate.policy.label_rules import LabelRules, own_label_rules
from chartgate.policy.minimise import listable_elements
from chartgate.policy.model_file import ModelFile, parse_model
from chartgate.policy.roster import steps_from

__all__ = [
    "CHARTER_SCHEMA",
    "CharterBook",
    "compile_book",
    "not_enforced",
    "parse_charter",
]

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class CharterBook:
    """All running charters, and the policy they compile to. Replaced whole."""

    charters: Mapping[str, Charter]
    digest: str  # hex SHA-256 over charters, model files, site forbids and label rules
    rulebook: Rulebook = field(repr=False)
    labels: LabelRules = field(default_factory=own_label_rules, repr=False)
    roster: Roster = field(default_factory=Roster, repr=False)

    def get(self, name: str) -> Charter:
        """Raises NotFound."""
        try:
            return self.charters[name]
        except KeyError:
            raise NotFound(f"there is no charter {name}") from None

    def of_client(self, client_id: str) -> tuple[Charter, ...]:
        """The charters that name this client."""
        return tuple(c for c in self.charters.values() if client_id in c.clients)


def compile_book(
    charters: Sequence[Charter],
    *,
    forbids: Sequence[ForbidText] = (),
    production: bool = False,
    mfa_required: bool = False,
    labels: LabelRules | None = None,
    roster: Roster | None = None,
) -> CharterBook:
    """Compiles to Cedar once. `forbids` are texts of the tenant and its sites; `labels` None: the
    packaged rules; `roster` None: there is none. Raises ConfigError."""
    by_name: dict[str, Charter] = {}
    for charter in charters:
        if charter.name in by_name:
            raise ConfigError(f"two files describe the charter {charter.name}; keep one")
        by_name[charter.name] = charter
    digests = [(n, c.digest, c.model_digest) for n, c in sorted(by_name.items())]
    texts = [f if isinstance(f, str) else [f.site, f.text] for f in forbids]
    strict = [production, mfa_required]
    labels = labels or own_label_rules()
    roster = roster or Roster()
    whole = [digests, texts, strict, labels.digest, *([roster.digest] if roster.digest else [])]
    digest = hashlib.sha256(canonical_bytes(whole)).hexdigest()
    rulebook = compile_rulebook(
        by_name, forbids=forbids, digest=digest, production=production, mfa_required=mfa_required
    )
    return CharterBook(
        charters=by_name, digest=digest, rulebook=rulebook, labels=labels, roster=roster
    )


def not_enforced(charter: Charter) -> tuple[str, ...]:
    """Keys that this charter uses and that are read and checked, but have no effect yet."""
    stages = charter.rollout
    used = {
        "halt_when": bool(charter.halt_when),
        "official_process": charter.official_process is not None,
        "rollout[].for": any(s.for_s for s in stages),
        "rollout[].gate": any(s.gate for s in stages),
        "rollout[].share": any(s.share < 1.0 for s in stages),
        "rollout[].units": any(s.units for s in stages),
    }
    return tuple(sorted(key for key, is_used in used.items() if is_used))


def parse_charter(body: bytes, *, file: str, read_model: Callable[[str], bytes]) -> Charter:
    """One charter. `read_model` gives the bytes of the model file that it names.

    Raises ConfigError with every mistake that was found, a line each.
    """
    try:
        value = load_yaml(body)
    except Invalid as error:
        raise ConfigError(f"{file}: {error}") from None
    findings = shape_findings(value)
    if not findings:
        findings = content_findings(value)
    model, model_digest = None, ""
    if isinstance(value, dict) and isinstance(value.get("model"), str) and value["model"]:
        model, model_digest, mistakes = _load_model(value["model"], read_model)
        findings += mistakes
    if findings or model is None:
        raise ConfigError("\n".join(f"{file}: {f}" for f in findings))
    digest = hashlib.sha256(body).hexdigest()
    return _charter(value, digest=digest, model=model, model_digest=model_digest)


def _load_model(
    path: str, read_model: Callable[[str], bytes]
) -> tuple[ModelFile | None, str, list[str]]:
    try:
        body = read_model(path)
        return parse_model(body), hashlib.sha256(body).hexdigest(), []
    except OSError as error:
        return None, "", [f"model: {path} cannot be read: {error.strerror or error}"]
    except ChartgateError as error:
        return None, "", [f"model: {path}: {line}" for line in str(error).splitlines()]


def _charter(
    value: Mapping[str, Any], *, digest: str, model: ModelFile, model_digest: str
) -> Charter:
    return Charter(
        name=value["charter"],
        revision=value["revision"],
        digest=digest,
        purpose_of_use=value["purpose_of_use"],
        sites=value["sites"],
        clients=tuple(value["clients"]),
        model=model.attributes,
        model_digest=model_digest,
        model_name=model.name,
        model_version=model.version,
        reads={t: _read_rule(t, r) for t, r in value["reads"].items()},
        proposes={n: _action_rule(n, a) for n, a in value.get("proposes", {}).items()},
        events=tuple(value.get("events", [])),
        budgets=value.get("budgets", {}),
        rollout=tuple(_stage(s) for s in value["rollout"]),
        halt_when=value.get("halt_when", {}),
        retention_s={k: duration_s(v) for k, v in value.get("retention", {}).items()},
        official_process=value.get("official_process"),
        data_use_agreement=value.get("data_use_agreement", ""),
        hours=_open_hours(value["hours"]) if "hours" in value else None,
    )


def _read_rule(resource_type: str, rule: Mapping[str, Any]) -> ReadRule:
    elements = rule["elements"]
    if elements == ALL:
        elements = sorted(listable_elements(resource_type))
    when: Literal["refuse", "stale"] = rule.get("when_unreachable", "refuse")
    identifiers = rule.get("identifiers", () if rule["elements"] == ALL else None)
    extensions = rule.get("extensions")
    return ReadRule(
        elements=tuple(elements),
        search=tuple(rule.get("search", [])),
        fresh_s=duration_s(rule.get("fresh", "live")),
        when_unreachable=when,
        relationship=tuple(rule.get("relationship", [])),
        sensitive=tuple(rule.get("sensitive", [])),
        text=rule.get("text", "keep"),
        extensions=None if extensions is None else tuple(extensions),
        identifiers=None if identifiers is None else tuple(identifiers),
        view=rule.get("view", "identified"),
    )


def _action_rule(name: str, action: Mapping[str, Any]) -> ActionRule:
    review, otherwise = action["review"], action["otherwise"]
    auto = review.get("auto")
    return ActionRule(
        name=name,
        writes=write_rules(action["writes"]),
        guards=tuple(rule for g in action.get("guards", []) for rule in guard_rules(g)),
        rules=tuple(action.get("rules", [])),
        review_by=review["by"],
        review_within_s=duration_s(review["within"]),
        auto=AutoRule(min_confidence=auto["min_confidence"], from_stage=auto["from_stage"])
        if auto
        else None,
        handoff_to=otherwise["handoff"],
        handoff_within_s=duration_s(otherwise["within"]),
        handoff_below=float(otherwise.get("below", 0.0)),
        handoff_as=otherwise.get("as", "console"),
        handoff_code=otherwise.get("code", ""),
        handoff_priority=otherwise.get("priority", "routine"),
        handoff_when=tuple(otherwise.get("when", [])),
        handoff_worklists=tuple(otherwise.get("worklists", [])),
        handoff_escalate=steps_from(otherwise.get("escalate", [])),
        review_relationship=tuple(review.get("relationship", [])),
        review_each=review.get("each", False),
        fixed=tuple(action.get("fixed", {}).items()),
        never=tuple(action.get("never", [])),
        values=value_rules(action.get("values", {})),
        links=tuple(action.get("links", [])),
        through=action.get("through", {}),
        provenance=action.get("provenance", False),
        limits=action.get("limits", {}),
        on_conflict=action.get("on_conflict", "review"),
        review_people=max(review.get("people", 1), len(review.get("roles", []))),
        review_roles=tuple(review.get("roles", [])),
        review_acknowledge=tuple(review.get("acknowledge", [])),
        review_dwell_s=duration_s(review["dwell"]) if "dwell" in review else 0.0,
        review_seeds=_share(review.get("seeds", 0.0)),
    )


def _open_hours(value: dict[str, Any]) -> OpenHours:
    return OpenHours(
        hours=hours_of(value), calendar=calendar_of(value["zone"], value.get("holidays", []))
    )


def _stage(stage: Mapping[str, Any]) -> Stage:
    gate = tuple((k, re.sub(r"^([<>=]+) ?", r"\1 ", v)) for k, v in stage.get("gate", {}).items())
    return Stage(
        name=stage["stage"],
        for_s=duration_s(stage["for"]) if "for" in stage else 0.0,
        units=tuple(stage.get("units", [])),
        share=_share(stage.get("share", 1.0)),
        gate=gate,
    )


def _share(value: str | float) -> float:
    """ "10%" or 0.1 as 0.1."""
    return float(value.rstrip("%")) / 100 if isinstance(value, str) else float(value)
