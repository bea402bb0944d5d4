"""Forbid policies: of Chartgate itself, of a tenant, and of one site.

A tenant's stand in `policies/*.cedar`, a site's in `policies/sites/SITE/*.cedar`. A site's are put
into the sets of that site and into no other, so whatever they say, they can touch no other site.
Each is a forbid with an id and a sentence, fits the schema, and lets labels only restrict.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import cedarpy

from chartgate.errors import ConfigError
from chartgate.policy.monotone import LABEL_KEYS, WHOLE, keys_asked, only_restricts

EVERYWHERE = ""  # the site of a tenant's forbids
READ_ACTIONS = frozenset({"read", "search"})
WORK_ACTIONS = frozenset(
    {"submit", "withdraw", "show", "review", "edit", "hand-back", "rollback", "take", "close"}
)
RUN_ACTIONS = frozenset({"list", "halt", "resume", "promote", "administer"})
ACTIONS = READ_ACTIONS | WORK_ACTIONS | RUN_ACTIONS
# What stops an AI, and what changes the rules, is forbidden only by its name: a policy that closes
# everything must not keep people from halting, or from ever taking that policy away again.
ONLY_BY_NAME = frozenset({"halt", "administer"})
# What may be unknown when a question is asked, by action; the schema says the same.
MAYBE_KNOWN: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(READ_ACTIONS, LABEL_KEYS | {"stage", "relationship"}),
    **dict.fromkeys(WORK_ACTIONS, frozenset({"stage", "relationship", "author"})),
    **dict.fromkeys(RUN_ACTIONS, frozenset()),
}
AT_RELEASE = LABEL_KEYS | {"relationship"}  # what only the resource at hand can tell

OWN_FORBIDS = """
@id("chartgate/own-proposal")
@sentence("nobody decides on a proposal of their own")
forbid (principal is Person, action in [Action::"review", Action::"edit", Action::"rollback"], resource)
when { context has author
  && (context.author == principal.agent || context.author == principal.client_agent) };

@id("chartgate/second-factor")
@sentence("this needs a sign-in with a second factor: sign in again with one, and come back")
forbid (principal is Person, action in [Action::"review", Action::"edit", Action::"hand-back",
  Action::"rollback", Action::"halt", Action::"resume", Action::"promote", Action::"administer"],
  resource)
when { context.mfa_required && !principal.mfa };

@id("chartgate/clients-never-decide")
@sentence("an AI client never decides")
forbid (principal is Client, action in [Action::"review", Action::"edit", Action::"hand-back",
  Action::"rollback", Action::"take", Action::"close", Action::"halt", Action::"resume",
  Action::"promote", Action::"administer"], resource);
"""


@dataclass(frozen=True, kw_only=True)
class ForbidFile:
    """A file of forbids as it was read."""

    text: str
    site: str = EVERYWHERE
    name: str = "a policy"


@dataclass(frozen=True, kw_only=True)
class Forbid:
    """One forbid. `body` is Cedar's JSON form."""

    id: str
    sentence: str
    site: str
    actions: frozenset[str]  # that its head can match
    asks: frozenset[str]  # keys of the context that it looks at
    body: Mapping[str, Any]
    text: str  # canonical

    @property
    def at_release(self) -> bool:
        """Whether it has to wait for the resource."""
        return not AT_RELEASE.isdisjoint(self.asks)


ForbidText = ForbidFile | str  # a text alone is a tenant's
OWN = ForbidFile(text=OWN_FORBIDS, name="chartgate")


def parse_forbids(files: Sequence[ForbidText]) -> tuple[Forbid, ...]:
    """All forbids, our own first. Raises ConfigError with every mistake, a line each."""
    found: dict[str, Forbid] = {}
    mistakes: list[str] = []
    for file in (OWN, *(ForbidFile(text=f) if isinstance(f, str) else f for f in files)):
        try:
            forbids = _forbids_of(file)
        except ConfigError as error:
            mistakes += str(error).splitlines()
            continue
        for forbid in forbids:
            if forbid.id in found:
                mistakes.append(f"{file.name}: two policies have the id {forbid.id}")
            found[forbid.id] = forbid
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return tuple(found.values())


def policy_set(forbids: Sequence[Forbid], *, guarded_for: str = "") -> Any:
    """Their PolicySet; with the guards that a question of the action `guarded_for` may need."""
    bodies: dict[str, Mapping[str, Any]] = {}
    for forbid in forbids:
        bodies[forbid.id] = forbid.body
        if guarded_for and (guard := _guard(forbid, guarded_for)):
            bodies[guard_id(forbid.id)] = guard
    whole = {"staticPolicies": bodies, "templates": {}, "templateLinks": []}
    return cedarpy.PolicySet.from_json_str(json.dumps(whole))


def guard_id(id_: str) -> str:
    """The id under which a forbid refuses because what it asks for is not known."""
    return f"{id_}?"


def unknown_keys(forbid: Forbid, action: str) -> frozenset[str]:
    """What the forbid asks for and a question of this action may not know."""
    maybe = MAYBE_KNOWN[action]
    return maybe if WHOLE in forbid.asks else maybe & forbid.asks


@cache
def cedar_schema() -> str:
    """The Cedar schema, for forbids and permits alike."""
    return (resources.files("chartgate.policy") / "chartgate.cedarschema").read_text("utf-8")


def _forbids_of(file: ForbidFile) -> list[Forbid]:
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(file.text))
    except ValueError as error:
        raise ConfigError(f"{file.name}: it does not parse: {error}") from None
    mistakes: list[str] = []
    if parsed.get("templates"):
        mistakes.append("a policy may not be a template")
    forbids = []
    for body in parsed.get("staticPolicies", {}).values():
        found = list(_mistakes(body))
        mistakes += found
        if not found:
            forbids.append(_forbid(file, body))
    if not mistakes and file is not OWN:  # ours forbid even what no schema lets anyone ask
        result = cedarpy.validate_policies(file.text, cedar_schema())
        mistakes += [e.error for e in result.errors]
    if mistakes:
        raise ConfigError("\n".join(f"{file.name}: {mistake}" for mistake in mistakes))
    return forbids


def _mistakes(body: Mapping[str, Any]) -> Iterator[str]:
    notes = body.get("annotations", {})
    id_ = notes.get("id")
    if not id_:
        yield 'every policy needs an id, e.g. @id("north-clinic/no-psychotherapy")'
        return
    if not id_.isprintable() or id_.endswith("?"):
        yield f"the id {id_!r} must be printable and not end in ?"
    if body["effect"] != "forbid":
        yield f"{id_} permits; a tenant or site may only forbid"
        return
    if not notes.get("sentence"):
        yield f'{id_} needs a sentence that tells people why, e.g. @sentence("…")'
    if not all(only_restricts(c) for c in body["conditions"]):
        yield (
            f"{id_} could forbid less where a resource is labelled more restricted; labels only "
            'restrict: write context.sensitivities.contains("PSY"), and name every level of '
            'confidentiality up to V, as in ["R", "V"].contains(context.confidentiality)'
        )


def _forbid(file: ForbidFile, body: Mapping[str, Any]) -> Forbid:
    one = json.dumps({"staticPolicies": {"_": body}, "templates": {}, "templateLinks": []})
    return Forbid(
        id=body["annotations"]["id"],
        sentence=body["annotations"]["sentence"],
        site=file.site,
        actions=_actions(body["action"]),
        asks=frozenset(keys_asked([c["body"] for c in body["conditions"]])),
        body=body,
        text=cedarpy.policies_from_json_str(one),
    )


def _actions(head: Mapping[str, Any]) -> frozenset[str]:
    """Actions that a head is about; what is not understood is about all."""
    match head:
        case {"op": "==" | "in", "entity": {"id": id_}}:
            return frozenset({id_})
        case {"op": "in", "entities": list(entities)}:
            return frozenset(entity["id"] for entity in entities)
    return ACTIONS - ONLY_BY_NAME


def _guard(forbid: Forbid, action: str) -> Mapping[str, Any] | None:
    """The forbid's head alone, which holds where something that it asks for is not known."""
    unknown = sorted(unknown_keys(forbid, action))
    if not unknown:
        return None
    known: Any = {"Value": True}
    for key in unknown:
        has = {"has": {"left": {"Var": "context"}, "attr": key}}
        known = {"&&": {"left": known, "right": has}}
    return {**forbid.body, "conditions": [{"kind": "unless", "body": known}]}
