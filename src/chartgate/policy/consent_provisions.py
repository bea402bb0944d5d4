"""One provision of a consent, and whether it means what is asked.

A nested provision is an exception: what it says of actor, action, purpose, label, class, code,
data and their time stands instead of what the provision around it says of the same; what it does
not say holds on from there. Periods all hold at once, so that no exception outlives its consent.
Where several exceptions are meant, one that denies wins.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chartgate.model.consent import Code, ConsentQuestion
from chartgate.model.label import CONFIDENTIALITY, Labels, covered_by, narrower
from chartgate.policy.consent_codes import (
    ACTIONS,
    CONSENT_ACTION,
    PART2_LAW,
    READING,
    RECIPIENTS,
    RESOURCE_TYPES,
    Match,
    purpose_covers,
)
from chartgate.policy.consent_references import in_references, may_stand_for
from chartgate.policy.consent_times import Period

NO, UNSURE, YES = Match.NO, Match.UNSURE, Match.YES
RESTRICTED = CONFIDENTIALITY.index("R")
USUAL = CONFIDENTIALITY.index("N")


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Somebody whom a provision is about."""

    roles: tuple[Code, ...]
    reference: str  # as written; "" where there is none
    identifier: str = ""  # "system|value"


@dataclass(frozen=True, kw_only=True, slots=True)
class Datum:
    """Data that a provision is about."""

    meaning: str  # "instance", "related", "dependents", "authoredby"
    reference: str  # as written; "" where there is none


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelLimit:
    """Security labels that a provision is about."""

    confidentiality: tuple[str, ...]
    sensitivities: frozenset[str]
    strange: bool  # some label is none that is known here


@dataclass(frozen=True, kw_only=True, slots=True)
class Provision:
    """A provision with all that holds on from those around it. None: it does not limit that."""

    path: str  # "0" the root, "0.1" the second provision within it
    permit: bool
    periods: tuple[Period, ...] = ()
    actors: tuple[Actor, ...] | None = None
    actions: tuple[Code, ...] | None = None
    purposes: tuple[Code, ...] | None = None
    labels: LabelLimit | None = None
    classes: tuple[Code, ...] | None = None
    codes: tuple[tuple[Code, ...], ...] | None = None  # of each concept its codings; () is text
    data_period: Period | None = None
    data: tuple[Datum, ...] | None = None
    inner: tuple["Provision", ...] = ()
    # Of one that denies: itself with nothing but what it says itself, for whom or what for the
    # permission around it was not given.
    bare: "Provision | None" = None


def deciding(provision: Provision, question: ConsentQuestion) -> Provision | None:
    """The innermost provision that is meant; None: none of them is."""
    found = [each for inner in provision.inner if (each := deciding(inner, question))]
    if found:
        return next((each for each in found if not each.permit), found[0])
    means = matches(provision, question)
    if means is YES or (means is UNSURE and not provision.permit):
        return provision
    return None


def every(provision: Provision) -> Iterator[Provision]:
    """The provision and all within it."""
    yield provision
    for inner in provision.inner:
        yield from every(inner)


def matches(provision: Provision, question: ConsentQuestion) -> Match:
    """Whether all that the provision says is so of the question."""
    return _all((speaks_of(provision, question), covers(provision, question)))


def speaks_of(provision: Provision, question: ConsentQuestion) -> Match:
    """Whether who asks, for what, and when, are what the provision is about."""
    return _all(
        (
            *(p.holds_instant(question.at, question.zone) for p in provision.periods),
            YES
            if provision.actors is None
            else _any(_actor(a, question) for a in provision.actors),
            YES if provision.actions is None else _action(provision, question),
            YES
            if provision.purposes is None
            else _any(purpose_covers(p, question.purpose) for p in provision.purposes),
        )
    )


def covers(provision: Provision, question: ConsentQuestion) -> Match:
    """Whether the data that are asked for are what the provision is about."""
    found = YES
    if provision.labels is not None:
        means = _label_permitted if provision.permit else _label_denied
        found = means(provision.labels, question.labels)
    if found is not NO and provision.classes is not None:
        found = _all((found, _any(_class(c, question) for c in provision.classes)))
    if found is not NO and provision.codes is not None:
        found = _all((found, _any(_concept(c, provision, question) for c in provision.codes)))
    if found is not NO and provision.data_period is not None:
        found = _all((found, _dated(provision.data_period, question)))
    if found is not NO and provision.data is not None:
        found = _all((found, _any(_datum(d, question) for d in provision.data)))
    return found


def _actor(actor: Actor, question: ConsentQuestion) -> Match:
    found = in_references(actor.reference, question.actors) if actor.reference else UNSURE
    if actor.identifier and actor.identifier in question.actors:
        found = YES
    if found is NO and may_stand_for(actor.reference):
        found = UNSURE  # who belongs to it is written down elsewhere
    if found is not NO and actor.roles and not RECIPIENTS.intersection(actor.roles):
        found = UNSURE  # what else than a recipient they may be is not known here
    return found


def _action(provision: Provision, question: ConsentQuestion) -> Match:
    assert provision.actions is not None, "asked only where there are some"
    named = {code for system, code in provision.actions if system == CONSENT_ACTION}
    strange = len(named & ACTIONS) < len(set(provision.actions))
    if question.action in named:
        return YES
    if not provision.permit and question.action in READING and named & READING:
        return YES
    return UNSURE if strange or question.action not in ACTIONS else NO


def _label_permitted(limit: LabelLimit, labels: Labels) -> Match:
    """All labels of the resource are among those named: N covers what is labelled less too, R
    covers what is sensitive unless sensitivities are named beside it."""
    if limit.strange or labels.unknown:
        return UNSURE
    rank = CONFIDENTIALITY.index(labels.confidentiality)
    most = max(map(CONFIDENTIALITY.index, limit.confidentiality), default=-1)
    sensitivities = labels.sensitivities - PART2_LAW
    if not sensitivities:
        return YES if rank <= most else NO
    if limit.sensitivities:
        inside = sensitivities <= covered_by(tuple(sorted(limit.sensitivities)))
        return YES if inside and rank <= max(most, RESTRICTED) else NO
    return YES if most >= RESTRICTED and rank <= most else NO


def _label_denied(limit: LabelLimit, labels: Labels) -> Match:
    """Some label of the resource is among those named, or more restrictive than one."""
    least = min(map(CONFIDENTIALITY.index, limit.confidentiality), default=len(CONFIDENTIALITY))
    if CONFIDENTIALITY.index(labels.confidentiality) >= least:
        return YES
    if any(labels.sensitivities & narrower(each) for each in limit.sensitivities):
        return YES
    if limit.strange or labels.unknown:
        return UNSURE
    wide = any(narrower(each) & limit.sensitivities for each in labels.sensitivities)
    return UNSURE if wide else NO


def _class(named: Code, question: ConsentQuestion) -> Match:
    system, code = named
    if system in RESOURCE_TYPES:
        if not question.resource_type:
            return UNSURE
        return YES if code == question.resource_type else NO
    return YES if question.codes and named in question.codes else UNSURE


def _concept(codings: tuple[Code, ...], provision: Provision, question: ConsentQuestion) -> Match:
    """R4: the rule applies if this code is found in an instance."""
    if question.codes and question.codes.intersection(codings):
        return YES
    if not provision.permit and question.mentions.intersection(codings):
        return YES
    if question.directory and codings:
        return NO
    systems = {system for system, _ in question.codes or ()}
    return NO if codings and all(system in systems for system, _ in codings) else UNSURE


def _dated(period: Period, question: ConsentQuestion) -> Match:
    if question.dated is None:
        return NO if question.directory else UNSURE
    return period.holds(question.dated, question.zone)


def _datum(datum: Datum, question: ConsentQuestion) -> Match:
    if not datum.reference:
        return UNSURE
    if datum.meaning == "authoredby":
        return _authored(datum, question)
    itself = in_references(datum.reference, {question.reference} if question.reference else None)
    if datum.meaning == "instance" or itself is YES:
        return itself
    # Both "related" and "dependents": what refers to it. What it refers to itself (R4's word for
    # "related") would need the named resource; IHE PCF means what belongs to an encounter.
    return _any((itself, in_references(datum.reference, question.related)))


def _authored(datum: Datum, question: ConsentQuestion) -> Match:
    if question.authors is None:
        return NO if question.directory else UNSURE
    found = in_references(datum.reference, question.authors)
    kind = datum.reference.rpartition("/")[0].rpartition("/")[2]
    if found is NO and not any(f"{kind}/" in author for author in question.authors):
        return NO if question.directory else UNSURE  # e.g. a role, which is some practitioner's
    return found


def _all(found: Iterable[Match]) -> Match:
    return Match(min((each.value for each in found), default=YES.value))


def _any(found: Iterable[Match]) -> Match:
    return Match(max((each.value for each in found), default=NO.value))
