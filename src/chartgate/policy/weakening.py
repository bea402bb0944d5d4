"""What a change of charters, forbids or label rules makes weaker, in sentences.

Whatever gives more, checks less or cannot be told to be harmless counts. Only what is known to
leave the rules as strict as they were passes: fields without a row here count when they change.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from chartgate.model.charter import STAGES, Charter, GuardRule, Stage
from chartgate.model.label import CONFIDENTIALITY, USUAL
from chartgate.policy.charters import CharterBook
from chartgate.policy.label_rules import TEXT_OPTIONS, LabelRules

VIEWS = ("safe-harbor", "limited", "identified")  # narrow to wide
TEXTS = ("cut", "structured-only", "keep")  # the same
ALL_ELEMENTS: tuple[str, ...] = ()  # a write without elements may write any

# What a field may turn into, as words; None: it is no weaker than before.
Compare = Callable[[Any, Any], str | None]


def weakenings(before: CharterBook, after: CharterBook) -> tuple[str, ...]:
    """A sentence for each thing that `after` makes weaker than `before`. Empty: nothing."""
    found: list[str] = []
    for name, charter in sorted(after.charters.items()):
        known = before.charters.get(name)
        if known is None:
            found.append(
                f"{name}: the charter is new; it gives {', '.join(charter.clients)} rights"
            )
        else:
            found += (f"{name}: {what}" for what in _charter(known, charter))
    return (*found, *_forbids(before, after), *_labels(before.labels, after.labels))


def _forbids(before: CharterBook, after: CharterBook) -> Iterator[str]:
    for id_, forbid in before.rulebook.forbids.items():
        now = after.rulebook.forbids.get(id_)
        if now is None:
            yield f"the policy {id_} is gone"
        elif (now.site, now.text) != (forbid.site, forbid.text):
            yield f"the policy {id_} is another"
    for rule in ("production", "mfa_required"):
        if getattr(before.rulebook, rule) and not getattr(after.rulebook, rule):
            yield f"{rule} does not hold any more"


def _labels(before: LabelRules, after: LabelRules) -> Iterator[str]:
    """A rule more only restricts; one that is gone, or that looks at less, may not."""
    gone = len(before.rules - after.rules)
    if gone:
        yield f"{gone} of the rules that label resources are gone or others"
    yield from (f"labels: {s}" for s in after.weakened if s not in before.weakened)
    if TEXT_OPTIONS.index(after.text) < TEXT_OPTIONS.index(before.text):
        yield f"labels: less text is looked into: {after.text} instead of {before.text}"
    for sensitivity, level in before.confidentiality.items():
        now = after.confidentiality.get(sensitivity, USUAL)
        if CONFIDENTIALITY.index(now) < CONFIDENTIALITY.index(level):
            yield f"labels: {sensitivity} counts as {now} instead of {level}"
    lost = [code for key, code in before.labels.items() if after.labels.get(key) != code]
    if lost:
        yield f"labels: what the site calls {', '.join(sorted(set(lost)))} means something else"


def _charter(before: Charter, after: Charter) -> Iterator[str]:
    yield from _compared(before, after, CHARTER_FIELDS, "")
    for resource_type, read in after.reads.items():
        known = before.reads.get(resource_type)
        if known is None:
            yield f"reads.{resource_type} is new"
        else:
            yield from _compared(known, read, READ_FIELDS, f"reads.{resource_type}.")
    for name, action in after.proposes.items():
        known_ = before.proposes.get(name)
        if known_ is None:
            yield f"proposes.{name} is new"
        else:
            yield from _compared(known_, action, ACTION_FIELDS, f"proposes.{name}.")


def _compared(before: Any, after: Any, known: Mapping[str, Compare], where: str) -> Iterator[str]:
    for field in fields(before):
        compare = known.get(field.name, other)
        found = compare(getattr(before, field.name), getattr(after, field.name))
        if found:
            yield f"{where}{field.name} {found}"


def harmless(before: Any, after: Any) -> str | None:
    """Says nothing about rights, or is compared elsewhere."""
    return None


def other(before: Any, after: Any) -> str | None:
    """Any change counts."""
    return None if before == after else "was changed"


def more(before: Any, after: Any) -> str | None:
    """Names that were not there."""
    added = sorted(str(each) for each in after if each not in before)
    return f"has more: {', '.join(added)}" if added else None


def fewer(before: Any, after: Any) -> str | None:
    """Names, or rules, that are gone."""
    gone = [each for each in before if each not in after]
    return f"has fewer: {', '.join(_said(each) for each in gone)}" if gone else None


def higher(before: float, after: float) -> str | None:
    """A limit that was raised."""
    return f"was raised from {before:g} to {after:g}" if after > before else None


def lower(before: float, after: float) -> str | None:
    """A threshold that was lowered."""
    return f"was lowered from {before:g} to {after:g}" if after < before else None


def _said(rule: Any) -> str:
    if isinstance(rule, GuardRule):
        about = rule.query or rule.feed or ", ".join(rule.paths)
        return about if rule.kind == "none" else f"{rule.kind} {about}"
    if isinstance(rule, tuple):
        return str(rule[0])
    return str(getattr(rule, "path", rule))


def _one_of(before: Sequence[str], after: Sequence[str]) -> str | None:
    """Conditions of which one must hold: none at all asks for nothing, one more lets more by."""
    if before and not after:
        return "asks for nothing any more"
    return more(before, after) if before else None


def _off(before: bool, after: bool) -> str | None:
    return "is not written any more" if before and not after else None


def _stale(before: str, after: str) -> str | None:
    return "shows stale copies now" if (before, after) == ("refuse", "stale") else None


def _wider(scale: Sequence[str]) -> Compare:
    """A step towards the end of a scale that is sorted from narrow to wide."""

    def compare(before: str, after: str) -> str | None:
        if before == after:
            return None
        narrower = before in scale and after in scale[: scale.index(before)]
        return None if narrower else f"is wider: {after} instead of {before}"

    return compare


def _listed(before: Sequence[str] | None, after: Sequence[str] | None) -> str | None:
    """Names that may be shown, where None stands for all."""
    if before is None:
        return None
    return "shows all now" if after is None else more(before, after)


def _writes(before: Sequence[Any], after: Sequence[Any]) -> str | None:
    """More interactions, types or elements that may be written."""
    known = {(w.interaction, w.resource_type): w for w in before}
    added = []
    for write in after:
        key = (write.interaction, write.resource_type)
        was = known.get(key)
        wider = was is None or (
            was.elements != ALL_ELEMENTS and not _within(write.elements, was.elements)
        )
        # Authorship may be written only where its element is named.
        if wider or (was is not None and not set(write.named) <= set(was.named)):
            added.append(" ".join(key))
    return f"writes more: {', '.join(added)}" if added else None


def _within(elements: Sequence[str], known: Sequence[str]) -> bool:
    return elements != ALL_ELEMENTS and set(elements) <= set(known)


def _auto(before: Any, after: Any) -> str | None:
    if after is None:
        return None
    if before is None:
        return "lets a rule stand in for a person"
    if after.min_confidence < before.min_confidence:
        return f"takes less confidence: {after.min_confidence:g} for {before.min_confidence:g}"
    if STAGES.index(after.from_stage) < STAGES.index(before.from_stage):
        return f"begins earlier: at {after.from_stage}"
    return None


def _less_of_each(before: bool, after: bool) -> str | None:
    return "asks for one decision on all changes" if before and not after else None


def _sites(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    added = sorted(set(after) - set(before))
    moved = sorted(s for s in set(after) & set(before) if after[s] != before[s])
    if added:
        return f"has more: {', '.join(added)}"
    return f"leads elsewhere: {', '.join(moved)}" if moved else None


def _budgets(before: Mapping[str, int], after: Mapping[str, int]) -> str | None:
    raised = [k for k, limit in before.items() if k not in after or after[k] > limit]
    return f"allows more: {', '.join(sorted(raised))}" if raised else None


def _rollout(before: Sequence[Stage], after: Sequence[Stage]) -> str | None:
    """Each stage that there was must be there still, and ask for no less."""
    now = {stage.name: stage for stage in after}
    eased = [s.name for s in before if s.name not in now or _eased(s, now[s.name])]
    return f"asks for less at {', '.join(eased)}" if eased else None


def _eased(before: Stage, after: Stage) -> bool:
    return (
        after.for_s < before.for_s
        or after.share > before.share
        or not set(before.gate) <= set(after.gate)
        or (bool(before.units) and not (after.units and set(after.units) <= set(before.units)))
    )


def _halts(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    gone = [k for k, limit in before.items() if after.get(k) != limit]
    return f"halts less: {', '.join(sorted(gone))}" if gone else None


def _hours(before: Any, after: Any) -> str | None:
    """Hours where there were none only restrict; whether others are wider is not worked out."""
    return None if before is None else other(before, after)


CHARTER_FIELDS: Mapping[str, Compare] = {
    **dict.fromkeys(("name", "revision", "digest", "official_process"), harmless),
    **dict.fromkeys(("reads", "proposes"), harmless),  # one by one, below
    "sites": _sites,
    "clients": more,
    "model": harmless,  # its digest says it
    "events": more,
    "budgets": _budgets,
    "rollout": _rollout,
    "halt_when": _halts,
    "hours": _hours,
}
READ_FIELDS: Mapping[str, Compare] = {
    "elements": more,
    "search": more,
    "fresh_s": higher,
    "when_unreachable": _stale,
    "relationship": _one_of,
    "sensitive": more,
    "text": _wider(TEXTS),
    "extensions": _listed,
    "identifiers": _listed,
    "view": _wider(VIEWS),
}
ACTION_FIELDS: Mapping[str, Compare] = {
    "name": harmless,
    "writes": _writes,
    "guards": fewer,
    "rules": fewer,
    "auto": _auto,
    "review_within_s": harmless,
    "handoff_within_s": harmless,
    "handoff_below": lower,
    **dict.fromkeys(("handoff_code", "handoff_priority"), harmless),
    "handoff_as": _wider(("console", "task")),
    "handoff_when": more,
    "handoff_worklists": more,
    "review_relationship": _one_of,
    "review_each": _less_of_each,
    "fixed": fewer,
    "never": fewer,
    "values": fewer,
    "links": more,
    "provenance": _off,
    "through": other,  # another system, or no precondition any more
    "limits": _budgets,
    "on_conflict": harmless,  # whatever follows, a person decides
    "review_people": lower,
    "review_acknowledge": fewer,
    "review_dwell_s": lower,
    "review_seeds": lower,
}
