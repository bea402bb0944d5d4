"""Charters as Cedar policies, sliced so that a question meets only the few that can matter.

Cedar denies unless something permits, and one forbid outweighs every permit. So permits and forbids
are kept in sets of their own: permits by what is asked, forbids by action and site. A question is
put to one set of each, and the answer is Cedar's: permitted, and not forbidden.
Source: https://docs.cedarpolicy.com/policies/syntax-policy.html
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import cedarpy

from chartgate.errors import ConfigError
from chartgate.model.charter import ActionRule, Charter
from chartgate.model.decision import Decision, Request
from chartgate.policy.forbids import (
    ACTIONS,
    EVERYWHERE,
    Forbid,
    ForbidText,
    guard_id,
    parse_forbids,
    policy_set,
    unknown_keys,
)

CLIENT_ACTIONS = frozenset({"read", "search", "submit", "withdraw", "show", "list"})
DECIDING_ACTIONS = ("review", "edit", "hand-back", "rollback")
WORKLIST_ACTIONS = ("take", "close", "show")
REVIEW_ACTIONS = (*DECIDING_ACTIONS, *WORKLIST_ACTIONS)
OPERATOR_ACTIONS = ("halt", "resume", "promote", "list")
ADMINISTER = "administer"
PERSON_ACTIONS = frozenset({*REVIEW_ACTIONS, *OPERATOR_ACTIONS, ADMINISTER})
PROCESS_ACTIONS = frozenset({"halt", "resume", "promote", "list", "show"})
CHARTER_ACTIONS = frozenset({*OPERATOR_ACTIONS, ADMINISTER})
OPERATOR = "operator"
ADMINISTRATORS = ("administrator", "privacy-officer")  # roles that approve what weakens a rule
EVERY_CHARTER = "*"  # of a halt: everything

Key = tuple[str, str, str]  # action, charter, resource id
ForbidKey = tuple[str, str, bool]  # action, site or EVERYWHERE, preliminary


@dataclass(slots=True)
class Answered:
    """An answer that is kept, and how often it was given since that was last written down."""

    decision: Decision
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class ForbidSets:
    """The forbids on one action: alone, and with the guards that refuse what is not known."""

    asks: frozenset[str]  # keys that may be unknown and that some of them look at
    plain: Any  # PolicySet
    guarded: Any  # PolicySet


@dataclass(frozen=True, kw_only=True)
class Rulebook:
    """Policy sets by what is asked, and the forbids with their sentences."""

    charters: Mapping[str, Charter]
    permits: Mapping[Key, Any]  # PolicySet
    forbid_sets: Mapping[ForbidKey, ForbidSets]  # a key that is missing has none
    forbids: Mapping[str, Forbid]  # by id
    sentences: Mapping[str, str]  # by forbid's id
    digest: str
    production: bool = False
    mfa_required: bool = False
    answers: dict[Request, Answered] = field(default_factory=dict)  # bounded by decide

    def forbids_on(
        self, action: str, site: str, *, preliminary: bool, known: Collection[str]
    ) -> Any | None:
        """The PolicySet that may forbid the action at the site to a question of which these keys
        are known; None: nothing does."""
        sets = self.forbid_sets.get((action, site, preliminary)) or self.forbid_sets.get(
            (action, EVERYWHERE, preliminary)
        )
        if sets is None:
            return None
        return sets.plain if sets.asks.issubset(known) else sets.guarded


@dataclass(frozen=True, kw_only=True)
class Permit:
    """One permit, and which questions it can answer."""

    id: str
    charter: str
    principal: str
    actions: Sequence[str]
    resource: str  # 'ResourceType::"Slot"'
    when: str

    @property
    def text(self) -> str:
        """The policy in Cedar."""
        actions = ", ".join(f"Action::{quoted(a)}" for a in self.actions)
        return (
            f"@id({quoted(self.id)})\n"
            f"permit (principal {self.principal}, action in [{actions}], resource == "
            f"{self.resource})\nwhen {{ {self.when} }};\n"
        )


def compile_rulebook(
    charters: Mapping[str, Charter],
    *,
    forbids: Sequence[ForbidText],
    digest: str,
    production: bool = False,
    mfa_required: bool = False,
) -> Rulebook:
    """Raises ConfigError if a text is not only forbids that fit the schema."""
    parsed = parse_forbids(forbids)
    permits = [p for c in charters.values() for p in charter_permits(c)]
    permits += general_permits()
    _check_apart(parsed, permits)
    by_key: dict[Key, list[str]] = {}
    for permit in permits:
        resource = permit.resource.partition('::"')[2][:-1]
        for action in permit.actions:
            by_key.setdefault((action, permit.charter, resource), []).append(permit.text)
    return Rulebook(
        charters=charters,
        permits={k: _policy_set("\n".join(texts)) for k, texts in by_key.items()},
        forbid_sets=dict(_forbid_sets(parsed)),
        forbids={f.id: f for f in parsed},
        sentences=dict(_sentences(parsed)),
        digest=digest,
        production=production,
        mfa_required=mfa_required or production,
    )


def _forbid_sets(forbids: Sequence[Forbid]) -> Iterator[tuple[ForbidKey, ForbidSets]]:
    """Sets for each action and each site that has forbids of its own, which are in no other."""
    for site in sorted({EVERYWHERE, *(f.site for f in forbids)}):
        for action, preliminary in product(sorted(ACTIONS), (False, True)):
            here = [
                forbid
                for forbid in forbids
                if forbid.site in (EVERYWHERE, site)
                and action in forbid.actions
                and not (preliminary and forbid.at_release)
            ]
            if here:
                plain = policy_set(here)
                asks = frozenset[str]().union(*(unknown_keys(f, action) for f in here))
                guarded = policy_set(here, guarded_for=action) if asks else plain
                sets = ForbidSets(asks=asks, plain=plain, guarded=guarded)
                yield (action, site, preliminary), sets


def _sentences(forbids: Sequence[Forbid]) -> Iterator[tuple[str, str]]:
    for forbid in forbids:
        yield forbid.id, forbid.sentence
        unknown = sorted(set().union(*(unknown_keys(forbid, a) for a in forbid.actions)))
        if unknown:
            asked = " and ".join(unknown)
            yield (
                guard_id(forbid.id),
                f"the rule {forbid.id} asks for {asked}, and what nobody knows means no",
            )


def _check_apart(forbids: Sequence[Forbid], permits: Iterable[Permit]) -> None:
    taken = {p.id for p in permits}
    for forbid in forbids:
        if forbid.id in taken:
            raise ConfigError(f"the policy id {forbid.id} is one of a charter's; name it otherwise")


def charter_permits(charter: Charter) -> Iterator[Permit]:
    """Everything that one charter permits, to clients and to people."""
    at_site = f"[{', '.join(f'Site::{quoted(s)}' for s in charter.sites)}].contains(context.site)"
    of_charter = f"context.charter == {quoted(charter.name)} && {at_site}"
    client = f"in Charter::{quoted(charter.name)}"
    for resource_type, rule in charter.reads.items():
        for action in ("read", "search") if rule.search else ("read",):
            yield Permit(
                id=f"{charter.name}/{action}/{resource_type}",
                charter=charter.name,
                principal=client,
                actions=[action],
                resource=f"ResourceType::{quoted(resource_type)}",
                when=of_charter + _related(rule.relationship, or_when="context.preliminary || "),
            )
    for rule_ in charter.proposes.values():
        yield from _action_permits(charter, rule_, client=client, when=of_charter)
    whole = f"Charter::{quoted(charter.name)}"
    yield Permit(
        id=f"{charter.name}/list",
        charter=charter.name,
        principal=client,
        actions=["list"],
        resource=whole,
        when="true",
    )
    roles = sorted({r for a in charter.proposes.values() for r in (*a.reviewers, *a.worklists)})
    for role in roles:
        yield Permit(
            id=f"{charter.name}/list/{role}",
            charter=charter.name,
            principal=f"in Role::{quoted(role)}",
            actions=["list"],
            resource=whole,
            when="principal is Person",
        )
    for role in sorted({r for a in charter.proposes.values() for r in a.reviewers}):
        yield Permit(
            id=f"{charter.name}/halt/{role}",
            charter=charter.name,
            principal=f"in Role::{quoted(role)}",
            actions=["halt"],
            resource=whole,
            when="principal is Person",
        )
    yield from operator_permits(charter.name)


def general_permits() -> Iterator[Permit]:
    """What no one charter says: operating, and administering, everything."""
    yield from operator_permits(EVERY_CHARTER)
    for role in ADMINISTRATORS:
        yield Permit(
            id=f"{EVERY_CHARTER}/{ADMINISTER}/{role}",
            charter=EVERY_CHARTER,
            principal=f"in Role::{quoted(role)}",
            actions=[ADMINISTER],
            resource=f"Charter::{quoted(EVERY_CHARTER)}",
            when="principal is Person",
        )


def operator_permits(charter: str) -> Iterator[Permit]:
    """What operators, and our own processes, may do with a charter."""
    for name, principal, kind in (
        ("operate", f"in Role::{quoted(OPERATOR)}", "Person"),
        ("process", "is Process", "Process"),
    ):
        yield Permit(
            id=f"{charter}/{name}",
            charter=charter,
            principal=principal,
            actions=OPERATOR_ACTIONS,
            resource=f"Charter::{quoted(charter)}",
            when=f"principal is {kind}",
        )


def _action_permits(
    charter: Charter, rule: ActionRule, *, client: str, when: str
) -> Iterator[Permit]:
    name = f"{charter.name}/{rule.name}"
    resource = f"ProposalKind::{quoted(name)}"
    own = "context has author && context.author == principal.agent"
    here = "principal is Person && principal.sites.contains(context.site)"
    yield Permit(
        id=f"{name}/submit",
        charter=charter.name,
        principal=client,
        actions=["submit"],
        resource=resource,
        when=when,
    )
    yield Permit(
        id=f"{name}/own",
        charter=charter.name,
        principal=client,
        actions=["withdraw", "show"],
        resource=resource,
        when=f"principal is Client && {own} && {when}",
    )
    related = _related(rule.review_relationship)
    deciding = DECIDING_ACTIONS if related else REVIEW_ACTIONS
    for id_, role, actions, also in (
        *((_of("review", r, rule), r, deciding, related) for r in rule.reviewers),
        *((_of("see", r, rule), r, WORKLIST_ACTIONS, "") for r in rule.reviewers if related),
        *((_list_id(w, rule), w, WORKLIST_ACTIONS, "") for w in rule.worklists),
    ):
        yield Permit(
            id=f"{name}/{id_}",
            charter=charter.name,
            principal=f"in Role::{quoted(role)}",
            actions=actions,
            resource=resource,
            when=f"{here} && {when}{also}",
        )
    for id_, principal, kind in (
        ("operate", f"in Role::{quoted(OPERATOR)}", "Person"),
        ("process", "is Process", "Process"),
    ):
        yield Permit(
            id=f"{name}/{id_}",
            charter=charter.name,
            principal=principal,
            actions=["show"],
            resource=resource,
            when=f"principal is {kind}",
        )


def _of(verb: str, role: str, rule: ActionRule) -> str:
    """The part of an id that says what may be done: with the role where it is a further one."""
    return verb if role == rule.review_by else f"{verb}/{role}"


def _list_id(worklist: str, rule: ActionRule) -> str:
    """As `_of`, for who works on what was handed off."""
    return "worklist" if worklist == rule.handoff_to else f"worklist/{worklist}"


def _related(kinds: Sequence[str], *, or_when: str = "") -> str:
    """A further condition: one of these relationships is known to hold. Nothing where none is
    asked for."""
    if not kinds:
        return ""
    listed = ", ".join(quoted(kind) for kind in kinds)
    known = f"context has relationship && context.relationship.containsAny([{listed}])"
    return f" && ({or_when}({known}))"


def quoted(text: str) -> str:
    """A Cedar string literal. Names come from patterns without quotes; this makes sure."""
    return json.dumps(text, ensure_ascii=True)


def _policy_set(text: str) -> Any:
    try:
        return cedarpy.PolicySet.from_str(text)
    except ValueError as error:
        raise ConfigError(f"the charters' policies do not parse: {error}") from None
