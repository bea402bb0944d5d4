"""Names in forbids that nothing else knows: most often a slip of the pen, and then the rule forbids
nothing at all."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from chartgate.config import Config
from chartgate.formats import r4
from chartgate.policy.charter_shape import near
from chartgate.policy.charters import CharterBook
from chartgate.policy.forbids import Forbid


def unknown_names(forbid: Forbid, book: CharterBook, config: Config) -> Iterator[str]:
    """A sentence for each."""
    charters = book.charters.values()
    rules = [rule for charter in charters for rule in charter.proposes.values()]
    known: Mapping[str, Collection[str]] = {
        "Charter": set(book.charters),
        "Site": {*config.sites, *(site for charter in charters for site in charter.sites)},
        "Client": {*config.clients, *(c for charter in charters for c in charter.clients)},
        "ResourceType": set(r4.resource_types()),
        "ProposalKind": {f"{c.name}/{name}" for c in charters for name in c.proposes},
        "Role": {"operator", "administrator", "privacy-officer"}
        | {role for rule in rules for role in (*rule.reviewers, *rule.worklists)},
    }
    for kind, name in sorted(set(_entities(forbid.body))):
        if kind in known and name not in known[kind]:
            yield f"{forbid.id} names the {kind} {name}, which nothing else knows" + near(
                name, known[kind]
            )


def _entities(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for each in node:
            yield from _entities(each)
    elif isinstance(node, Mapping):
        if isinstance(node.get("type"), str) and isinstance(node.get("id"), str):
            yield node["type"], node["id"]
        for each in node.values():
            yield from _entities(each)
