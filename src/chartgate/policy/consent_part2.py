"""Consents that some records need whatever the site's mode: substance use (42 CFR part 2), notes
of counselling, and use in legal proceedings.

Each check gives what a permitting provision lacks; nothing lacking is the permission. Sources:
https://www.ecfr.gov/current/title-42/part-2/section-2.31 and section-2.32
"""

from collections.abc import Sequence

from chartgate.model.consent import ConsentQuestion
from chartgate.model.label import Labels, covered_by
from chartgate.policy.consent_codes import (
    ACT_REASON,
    LEGAL,
    NOTES,
    PART2,
    PART2_LAW,
    TPO,
    within_purpose,
)
from chartgate.policy.consent_parse import Directive
from chartgate.policy.consent_provisions import Provision, every

# What travels with each disclosure of such records: 42 CFR 2.32(a)(2), in its own words.
NOTICE = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."


def protected(labels: Labels) -> frozenset[str]:
    """The labels by which 42 CFR part 2 protects it; empty: it does not."""
    return (labels.sensitivities | labels.handling) & PART2


def is_notes(labels: Labels) -> bool:
    """Whether it is a note of counselling or psychotherapy."""
    return NOTES in labels.sensitivities


def is_legal(question: ConsentQuestion) -> bool:
    """Whether it is asked for to be used in proceedings."""
    system, bar, code = question.purpose.partition("|")
    return (code if bar else system) in within_purpose(LEGAL)


def lacking(directive: Directive, provision: Provision, question: ConsentQuestion) -> list[str]:
    """What this permission lacks for exactly this question, in words; empty: nothing."""
    found: list[str] = []
    if is_legal(question):
        found += _lacking_for_proceedings(provision)
    if is_notes(question.labels):
        found += _lacking_for_notes(directive, provision)
    if protected(question.labels):
        found += _lacking_of_2_31(directive, provision, question)
    return found


def scope_of(directive: Directive, provision: Provision) -> str:
    """What the consent covers, in one line without patient data: 42 CFR 2.32(b) lets that travel
    in place of a copy."""
    purposes = ", ".join(code for _, code in provision.purposes or ()) or "any purpose"
    labels = provision.labels
    what = (
        ", ".join(sorted(labels.sensitivities | set(labels.confidentiality)))
        if labels
        else "records"
    )
    ends = [p.end.text for p in provision.periods if p.end]
    until = f"until {min(ends)}" if ends else "until revoked"
    return f"{directive.id} covers {what or 'records'} for {purposes}, {until}"


def _lacking_for_proceedings(provision: Provision) -> list[str]:
    """2.31(d): never together with a consent for anything else. A consent for operations, within
    which HL7 puts legal purposes, is none for proceedings."""
    named = {code for system, code in provision.purposes or () if system == ACT_REASON}
    only = len(named) == len(set(provision.purposes or ())) and named <= within_purpose(LEGAL)
    return [] if named and only else ["a purpose of legal proceedings alone"]


def _lacking_for_notes(directive: Directive, provision: Provision) -> list[str]:
    """2.31(b), and 45 CFR 164.508(a)(2): a consent for such notes and for nothing else."""
    assert directive.root is not None, "a directive without a root permits nothing"
    permits = [each for each in every(directive.root) if each.permit]
    named = [each.labels.sensitivities if each.labels else frozenset() for each in permits]
    alone = all(NOTES in each and each <= {NOTES} | PART2 for each in named)
    return ([] if alone else ["that it is for counselling notes alone"]) + (
        [] if provision.actors else ["who may have the notes, by name"]
    )


def _lacking_of_2_31(
    directive: Directive, provision: Provision, question: ConsentQuestion
) -> list[str]:
    """The elements of 2.31(a). The patient is named, or the consent would not be theirs."""
    listed = provision.labels.sensitivities if provision.labels else frozenset()
    named = covered_by(tuple(sorted(listed)))
    wanted = (protected(question.labels) - PART2_LAW) or {"SUD"}
    labelled = wanted <= named or listed >= PART2_LAW
    pointed_at = any(each.meaning != "authoredby" for each in provision.data or ())
    specific = labelled or pointed_at or provision.codes
    purposes = _codes_of(provision)
    lasting = purposes and all(any(p in within_purpose(each) for each in TPO) for p in purposes)
    ends = any(period.end for period in provision.periods)
    checks: Sequence[tuple[object, str]] = (
        (directive.discloser, "who may disclose"),
        (specific, "which of these records, by name"),
        (provision.actors, "to whom"),
        (provision.purposes, "for which purpose"),
        (directive.part2_form, "that it is a consent under part 2, with the right to revoke"),
        (ends or lasting, "when it ends"),
        (directive.signed, "who signed it, and what"),
        (directive.given, "when it was signed"),
    )
    return [what for held, what in checks if not held]


def _codes_of(provision: Provision) -> list[str]:
    return [code if system == ACT_REASON else "" for system, code in provision.purposes or ()]
