"""What a patient's consents say to a question: FHIR R4 Consent, IHE PCF and 42 CFR part 2.

Any active consent that denies wins, and one that cannot be understood denies. A consent that
permits less than what is asked is a limit, and so is one that was refused or revoked: another one
permits beside it only if it was given no earlier. What nobody has said anything about, the site's
mode decides:

    mode                     no consent  a consent permits  one denies  not all is known
    opt-in                   no          yes                no          no
    opt-out                  yes         yes                no          no
    opt-in-with-exceptions   as opt-in, but yes for the purposes that the site excepts
    not-needed               yes         yes                no          yes

So where no consent is needed an explicit dissent is still honoured: it was accepted by whoever
made it active. Three things need a consent of their own in every mode: records of substance use,
counselling notes, and proceedings (consent_part2.py); and what has an unknown label is nobody's.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any

import orjson

from chartgate.model.consent import ConsentAnswer, ConsentMode, ConsentQuestion
from chartgate.policy.consent_codes import ACT_REASON, Match, purpose_covers
from chartgate.policy.consent_parse import Directive, parse_consent
from chartgate.policy.consent_part2 import is_legal, is_notes, lacking, protected, scope_of
from chartgate.policy.consent_provisions import (
    Provision,
    covers,
    deciding,
    every,
    matches,
    speaks_of,
)
from chartgate.policy.consent_references import same_reference
from chartgate.policy.consent_times import END, moment, not_older

KEPT_MAX = 4096  # patients whose consents stay parsed; some kB each


@dataclass(frozen=True, kw_only=True)
class Consents:
    """All that is known of one patient's consents. Not complete: there may be others."""

    digest: str  # hex SHA-256 over the bodies
    directives: tuple[Directive, ...] = ()
    complete: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """What one directive says to the question."""

    kind: str  # "deny", "permit", "limit", "revoked"
    directive: Directive
    provision: Provision | None = None

    @property
    def rule(self) -> str:
        return f"{self.directive.id}#{self.provision.path if self.provision else '0'}"


NOTHING_KNOWN = Consents(digest="unknown", complete=False)


def compile_consents(bodies: Iterable[bytes], *, complete: bool = True) -> Consents:
    """Bodies of Consents as JSON, in any order. Never raises: what cannot be read denies."""
    return _compiled(tuple(sorted(bodies)), complete)


def decide_consent(
    consents: Consents | None,
    question: ConsentQuestion,
    mode: ConsentMode,
    *,
    exceptions: Iterable[str] = (),
) -> ConsentAnswer:
    """The answer; None: nothing could be found out. `exceptions` are the purposes of use that
    need no consent in the mode opt-in-with-exceptions."""
    known = consents or NOTHING_KNOWN
    excepted = mode == "opt-in-with-exceptions" and _is_excepted(question, tuple(exceptions))
    permitted, rule, sentence, basis = _decided(known, question, mode, excepted=excepted)
    under_part2 = permitted and basis is not None and bool(protected(question.labels))
    return ConsentAnswer(
        permitted=permitted,
        rule=rule,
        sentence=sentence,
        digest=_digest(f"{mode}/{excepted}/{known.complete}/{known.digest}"),
        notice=under_part2,
        scope=scope_of(basis.directive, basis.provision)
        if under_part2 and basis and basis.provision
        else "",
    )


def all_of(answers: Sequence[ConsentAnswer]) -> ConsentAnswer:
    """One answer for what is about several patients: each of them has a say, and a no stands."""
    assert answers, "something was asked of somebody"
    first = next((each for each in answers if not each.permitted), answers[0])
    if len(answers) == 1:
        return first
    return replace(
        first,
        digest=_digest("/".join(each.digest for each in answers)),
        notice=first.permitted and any(each.notice for each in answers),
        scope="; ".join(each.scope for each in answers if each.scope) if first.permitted else "",
    )


_Verdict = tuple[bool, str, str, _Said | None]


def _decided(
    known: Consents, question: ConsentQuestion, mode: ConsentMode, *, excepted: bool
) -> _Verdict:
    if question.labels.unknown:
        return _no("label", "it has a label that is not understood; a rule for that label would do")
    said = [each for d in known.directives if (each := _said(d, question))]
    denied = next((each for each in said if each.kind == "deny"), None)
    if denied is not None:
        return _no(denied.rule, _why_denied(denied))
    permits = [each for each in said if each.kind == "permit"]
    special = _special(question)
    if special:
        permits, short = _fit(permits, question)
        if not permits:
            return _no(special[0], f"{special[1]}{short}")
    limits = _limits(said, permits, question, mode)
    if limits:
        return _no(limits[0].rule, _why_limited(limits[0]))
    if not known.complete and (mode != "not-needed" or special):
        return _no("missing", "the patient's consents are not all known; they must be in reach")
    return _undenied(permits, mode, excepted=excepted)


def same_until(consents: Consents, at: datetime, zone: tzinfo | None) -> datetime:
    """The first instant after `at` at which these consents may answer a question in another way
    than at `at`; datetime.max in UTC where none ever comes."""
    edges = (
        edge
        for directive in consents.directives
        for edge in (
            *([directive.given.earliest(zone)] if directive.given else ()),
            *(
                e
                for p in _all_of_them(directive)
                for period in p.periods
                for e in period.edges(zone)
            ),
        )
    )
    return min((edge for edge in edges if edge > at), default=END)


def _all_of_them(directive: Directive) -> Iterator[Provision]:
    if directive.root is not None:
        for each in every(directive.root):
            yield each
            if each.bare is not None:
                yield each.bare


def _undenied(permits: Sequence[_Said], mode: ConsentMode, *, excepted: bool) -> _Verdict:
    """Where nothing stands in the way: by a consent, else by the site's mode."""
    if permits:
        sentence = f"{permits[0].rule} permits it; without it the mode {mode} would decide"
        return True, permits[0].rule, sentence, permits[0]
    if excepted:
        sentence = "the site needs no consent for this purpose; a dissent would stop it"
        return True, "mode", sentence, None
    if mode in ("opt-out", "not-needed"):
        sentence = f"nobody said no, and the site's mode is {mode}; a dissent would stop it"
        return True, "mode", sentence, None
    return _no("mode", f"no consent permits it, and the site's mode is {mode}; it needs a consent")


def _limits(
    said: Sequence[_Said], permits: Sequence[_Said], question: ConsentQuestion, mode: ConsentMode
) -> list[_Said]:
    """What stands against it and no permission lifts. Where no consent is needed, one that does
    not go far enough is no dissent, but one that was revoked is."""
    kinds = ("revoked",) if mode == "not-needed" else ("revoked", "limit")
    found = [each for each in said if each.kind in kinds]
    return [each for each in found if not _is_lifted(each, permits, question)]


def _no(rule: str, sentence: str) -> _Verdict:
    return False, rule, sentence, None


def _said(directive: Directive, question: ConsentQuestion) -> _Said | None:
    """None: nothing that matters here."""
    theirs = same_reference(directive.patient, question.patient)
    if theirs is Match.NO:
        return None
    if directive.unreadable:
        return _Said(kind="deny", directive=directive)
    root = directive.root
    assert root is not None, "what is readable has a root"
    if directive.standing == "revocation":
        return _Said(kind="revoked", directive=directive, provision=root)
    if directive.standing == "refused":
        refused = root.permit and speaks_of(root, question) is not Match.NO
        return _Said(kind="limit", directive=directive, provision=root) if refused else None
    found = deciding(root, question)
    if found is not None and not found.permit:
        return _Said(kind="deny", directive=directive, provision=found)
    if theirs is not Match.YES or not directive.permits or _is_to_come(directive, question):
        return None
    if found is not None:
        return _Said(kind="permit", directive=directive, provision=found)
    limit = _limiting(root, question)
    return _Said(kind="limit", directive=directive, provision=limit) if limit else None


def _limiting(root: Provision, question: ConsentQuestion) -> Provision | None:
    """What keeps a permission short of what is asked: it is given for this, but not of these
    data; or it excepts them, though it was given for something else."""
    if not root.permit:
        return None
    if _is_given_for(root, question) and covers(root, question) is not Match.YES:
        return root
    excepted = (each for each in every(root) if each.bare is not None)
    return next((e for e in excepted if e.bare and matches(e.bare, question) is not Match.NO), None)


def _is_given_for(root: Provision, question: ConsentQuestion) -> bool:
    """As far as can be told; what another code system calls a purpose is none of HL7's."""
    named = root.purposes
    if named is not None and question.purpose and "|" not in question.purpose:
        named = tuple(code for code in named if code[0] == ACT_REASON)
        if not named:
            return False
    return speaks_of(replace(root, purposes=named), question) is not Match.NO


def _is_to_come(directive: Directive, question: ConsentQuestion) -> bool:
    given = directive.given
    return given is not None and given.earliest(question.zone) > question.at


def _is_lifted(limit: _Said, permits: Sequence[_Said], question: ConsentQuestion) -> bool:
    return any(
        not_older(permit.directive.given, limit.directive.given, question.zone)
        for permit in permits
    )


def _special(question: ConsentQuestion) -> tuple[str, str] | None:
    """The rule that asks for a consent of its own, and its sentence."""
    if is_legal(question):
        return "legal", "proceedings need a consent that names them alone"
    if is_notes(question.labels):
        return "notes", "counselling notes need a consent of their own"
    if protected(question.labels):
        return "42CFR2", "records of substance use need a consent with all of 42 CFR 2.31"
    return None


def _fit(permits: Sequence[_Said], question: ConsentQuestion) -> tuple[list[_Said], str]:
    """Those that will do, and else what the nearest one lacks."""
    lacks = {}
    for each in permits:
        assert each.provision is not None, "a permission comes from a provision"
        lacks[each.rule] = lacking(each.directive, each.provision, question)
    fit = [each for each in permits if not lacks[each.rule]]
    if fit or not lacks:
        return fit, ""
    nearest = min(lacks, key=lambda rule: len(lacks[rule]))
    return [], f"; {nearest} does not say {', '.join(lacks[nearest])}"


def _is_excepted(question: ConsentQuestion, exceptions: Iterable[str]) -> bool:
    return any(
        purpose_covers((ACT_REASON, each), question.purpose) is Match.YES for each in exceptions
    )


def _why_denied(said: _Said) -> str:
    if said.directive.unreadable:
        return (
            f"{said.directive.id} cannot be understood: {said.directive.unreadable}; "
            "mended, or made inactive, it would no longer stand in the way"
        )
    return f"{said.rule} denies it; only a change of that consent would permit it"


def _why_limited(said: _Said) -> str:
    if said.kind == "revoked":
        return f"{said.rule}: consent was revoked; a consent that is given later would permit it"
    return f"{said.rule} does not go so far; a later consent that does would permit it"


@lru_cache(maxsize=KEPT_MAX)
def _compiled(bodies: tuple[bytes, ...], complete: bool) -> Consents:
    """Kept by what the bodies say, so it can never be out of date."""
    versions: dict[str, list[Any]] = {}
    directives: list[Directive] = []
    for body in dict.fromkeys(bodies):
        try:
            resource = orjson.loads(body)
        except orjson.JSONDecodeError:
            directives.append(Directive(id="Consent/?", patient="", unreadable="it is no JSON"))
            continue
        id_ = resource.get("id") if isinstance(resource, dict) else None
        versions.setdefault(id_ if isinstance(id_, str) else "", []).append(resource)
    for id_, several in versions.items():
        newest = several if len(several) == 1 or not id_ else _newest(several)
        directives += [each for one in newest if (each := parse_consent(one)) is not None]
    return Consents(
        digest=hashlib.sha256(b"\n".join(hashlib.sha256(b).digest() for b in bodies)).hexdigest(),
        directives=tuple(directives),
        complete=complete,
    )


def _newest(several: Sequence[Any]) -> list[Any]:
    """Of several versions of one consent the one that was written last; where that cannot be
    told, what nobody can understand."""
    written = [_written_at(each) for each in several]
    last = max((each for each in written if each), default=None)
    if last is None or None in written or written.count(last) > 1:
        return [{**several[0], "implicitRules": "which of several versions holds"}]
    return [several[written.index(last)]]


def _written_at(resource: Any) -> datetime | None:
    meta = resource.get("meta")
    stamp = meta.get("lastUpdated") if isinstance(meta, dict) else None
    try:
        start = moment(stamp).start if isinstance(stamp, str) else None
    except ValueError:
        return None
    return start if start is not None and start.tzinfo is not None else None


@lru_cache(maxsize=KEPT_MAX)
def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
