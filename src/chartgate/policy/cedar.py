"""Charters as Cedar policies, sliced so that a question meets only the few that can matter.

Cedar denies unless something permits, and one forbid outweighs every permit.
Source: https://docs.cedarpolicy.com/policies/syntax-policy.html
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import cedarpy

from chartgate.errors import ConfigError
from chartgate.model.charter import ActionRule, Charter
from chartgate.model.decision import Decision, Request

CLIENT_ACTIONS = frozenset({"read", "search", "submit", "withdraw", "show", "list"})
REVIEW_ACTIONS = ("review", "edit", "hand-back", "rollback", "take", "close", "show")
WORKLIST_ACTIONS = ("take", "close", "show")
OPERATOR_ACTIONS = ("halt", "resume", "promote", "list")
PERSON_ACTIONS = frozenset({*REVIEW_ACTIONS, *OPERATOR_ACTIONS})
PROCESS_ACTIONS = frozenset({"halt", "resume", "promote", "list", "show"})
READ_ACTIONS = frozenset({"read", "search"})
CHARTER_ACTIONS = frozenset(OPERATOR_ACTIONS)
OPERATOR = "operator"
EVERY_CHARTER = "*"  # of a halt: everything

OWN_FORBIDS = """
@id("chartgate/own-proposal")
@sentence("nobody decides on a proposal of their own")
forbid (principal is Person, action in [Action::"review", Action::"edit", Action::"rollback"], resource)
when { context has author
  && (context.author == principal.agent || context.author == principal.client_agent) };

@id("chartgate/clients-never-decide")
@sentence("an AI client never decides")
forbid (principal is Client, action in [Action::"review", Action::"edit", Action::"hand-back",
  Action::"rollback", Action::"take", Action::"close", Action::"halt", Action::"resume",
  Action::"promote"], resource);
"""

Key = tuple[str, str]  # action, resource id


@dataclass(frozen=True, kw_only=True)
class Rulebook:
    """Policy sets by what is asked, and the sentences of the forbids."""

    charters: Mapping[str, Charter]
    slices: Mapping[Key, Any]  # PolicySet
    sentences: Mapping[str, str]  # by forbid's id
    digest: str
    answers: dict[Request, Decision] = field(default_factory=dict)  # bounded by decide


@dataclass(frozen=True, kw_only=True)
class Permit:
    """One permit, and which questions it can answer."""

    id: str
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
    charters: Mapping[str, Charter], *, forbids: Sequence[str], digest: str
) -> Rulebook:
    """Raises ConfigError if a site's text is not only forbids that fit the schema."""
    sentences = dict(_forbid_sentences(OWN_FORBIDS))
    for text in forbids:
        for id_, sentence in _forbid_sentences(text):
            if id_ in sentences:
                raise ConfigError(f"two site policies have the id {id_}")
            sentences[id_] = sentence
        _check_fits_schema(text)
    base = "\n".join([OWN_FORBIDS, *forbids])
    permits = [p for c in charters.values() for p in charter_permits(c)]
    permits += operator_permits(EVERY_CHARTER)
    by_key: dict[Key, list[str]] = {}
    for permit in permits:
        resource = permit.resource.partition('::"')[2][:-1]
        for action in permit.actions:
            by_key.setdefault((action, resource), []).append(permit.text)
    return Rulebook(
        charters=charters,
        slices={k: _policy_set("\n".join([base, *texts])) for k, texts in by_key.items()},
        sentences=sentences,
        digest=digest,
    )


def charter_permits(charter: Charter) -> Iterator[Permit]:
    """Everything that one charter permits, to clients and to people."""
    at_site = f"[{', '.join(f'Site::{quoted(s)}' for s in charter.sites)}].contains(context.site)"
    of_charter = f"context.charter == {quoted(charter.name)} && {at_site}"
    client = f"in Charter::{quoted(charter.name)}"
    for resource_type, rule in charter.reads.items():
        for action in ("read", "search") if rule.search else ("read",):
            yield Permit(
                id=f"{charter.name}/{action}/{resource_type}",
                principal=client,
                actions=[action],
                resource=f"ResourceType::{quoted(resource_type)}",
                when=of_charter,
            )
    for rule_ in charter.proposes.values():
        yield from _action_permits(charter, rule_, client=client, when=of_charter)
    whole = f"Charter::{quoted(charter.name)}"
    yield Permit(
        id=f"{charter.name}/list",
        principal=client,
        actions=["list"],
        resource=whole,
        when="true",
    )
    roles = sorted({r for a in charter.proposes.values() for r in (a.review_by, a.handoff_to)})
    for role in roles:
        yield Permit(
            id=f"{charter.name}/list/{role}",
            principal=f"in Role::{quoted(role)}",
            actions=["list"],
            resource=whole,
            when="principal is Person",
        )
    for role in sorted({a.review_by for a in charter.proposes.values()}):
        yield Permit(
            id=f"{charter.name}/halt/{role}",
            principal=f"in Role::{quoted(role)}",
            actions=["halt"],
            resource=whole,
            when="principal is Person",
        )
    yield from operator_permits(charter.name)


def operator_permits(charter: str) -> Iterator[Permit]:
    """What operators, and our own processes, may do with a charter."""
    for name, principal, kind in (
        ("operate", f"in Role::{quoted(OPERATOR)}", "Person"),
        ("process", "is Process", "Process"),
    ):
        yield Permit(
            id=f"{charter}/{name}",
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
        id=f"{name}/submit", principal=client, actions=["submit"], resource=resource, when=when
    )
    yield Permit(
        id=f"{name}/own",
        principal=client,
        actions=["withdraw", "show"],
        resource=resource,
        when=f"principal is Client && {own} && {when}",
    )
    for id_, role, actions in (
        ("review", rule.review_by, REVIEW_ACTIONS),
        ("worklist", rule.handoff_to, WORKLIST_ACTIONS),
    ):
        yield Permit(
            id=f"{name}/{id_}",
            principal=f"in Role::{quoted(role)}",
            actions=actions,
            resource=resource,
            when=f"{here} && {when}",
        )
    for id_, principal, kind in (
        ("operate", f"in Role::{quoted(OPERATOR)}", "Person"),
        ("process", "is Process", "Process"),
    ):
        yield Permit(
            id=f"{name}/{id_}",
            principal=principal,
            actions=["show"],
            resource=resource,
            when=f"principal is {kind}",
        )


def quoted(text: str) -> str:
    """A Cedar string literal. Names come from patterns without quotes; this makes sure."""
    return json.dumps(text, ensure_ascii=True)


@cache
def cedar_schema() -> str:
    """The Cedar schema, for a site's forbids."""
    return (resources.files("chartgate.policy") / "chartgate.cedarschema").read_text("utf-8")


def _forbid_sentences(text: str) -> Iterator[tuple[str, str]]:
    """(id, sentence) of each forbid. Raises ConfigError for anything that is no forbid."""
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        raise ConfigError(f"a site policy does not parse: {error}") from None
    if parsed.get("templates"):
        raise ConfigError("a site policy may not be a template")
    for name, policy in parsed.get("staticPolicies", {}).items():
        notes = policy.get("annotations", {})
        id_ = notes.get("id")
        if not id_:
            raise ConfigError(f'a site policy needs an id, e.g. @id("site/1"), before {name}')
        if policy["effect"] != "forbid":
            raise ConfigError(f"the site policy {id_} permits; a site may only forbid")
        yield id_, notes.get("sentence") or f"the site's rule {id_} forbids it"


def _check_fits_schema(text: str) -> None:
    result = cedarpy.validate_policies(text, cedar_schema())
    if not result.validation_passed:
        raise ConfigError("\n".join(f"a site policy: {e.error}" for e in result.errors))


def _policy_set(text: str) -> Any:
    try:
        return cedarpy.PolicySet.from_str(text)
    except ValueError as error:
        raise ConfigError(f"the charters' policies do not parse: {error}") from None
