"""Policy as its rules are said aloud, decided in the most naive way: the oracle of the engine."""

from typing import Any

from chartgate.model.principal import Client, Person

READING, DESK = {"read", "search"}, {"take", "close", "show"}
WAITS = {"relationship", "sensitivities", "confidentiality"}
OPERATING = {"halt", "resume", "promote", "list"}
REVIEWING = {"review", "edit", "hand-back", "rollback", *DESK}
RANK = {level: number for number, level in enumerate("ULMNRV")}


def may(charters: Any, q: Any) -> bool:  # noqa: C901  as long as its rules are
    """Whether a charter gives leave, or the office that somebody holds. Nothing else does."""
    who, charter, every = q.principal, charters.get(q.charter), q.charter == "*"
    roles = set(who.roles) if isinstance(who, Person) else set()
    runs = who.agent.startswith("process:") or "operator" in roles
    related, kind = q.relationship or set(), q.action
    if kind == "administer":
        return every and bool(roles & {"administrator", "privacy-officer"})
    if runs and kind in OPERATING and (every or charter):
        return True
    if not charter:
        return False
    reviewing = {name: {r.review_by, *r.review_roles} for name, r in charter.proposes.items()}
    reviewers = {role for named in reviewing.values() for role in named}
    desks = {rule.handoff_to for rule in charter.proposes.values()}
    read, rule = charter.reads.get(q.resource_type), charter.proposes.get(q.proposes)
    if isinstance(who, Client):
        if who.charter != q.charter or who.id not in charter.clients:
            return False
        if kind == "list" or q.site not in charter.sites or q.site not in (who.sites or [q.site]):
            return bool(kind == "list")
        if read and kind in READING and (read.search or kind == "read"):
            return bool(q.preliminary or not read.relationship or related & {*read.relationship})
        own = dict(q.context).get("author") == who.agent and kind in {"withdraw", "show"}
        return bool(rule) and (own or kind == "submit")
    if kind in {"list", "halt"}:
        return bool(roles & (reviewers | desks if kind == "list" else reviewers))
    if rule and runs and kind == "show":
        return True
    if not rule or not roles or q.site not in charter.sites or q.site not in who.sites:
        return False
    close = not rule.review_relationship or related & {*rule.review_relationship}
    reviews = roles & reviewing[q.proposes] and kind in REVIEWING and (close or kind in DESK)
    return bool(reviews or (rule.handoff_to in roles and kind in DESK))


def forbids(rule: Any, q: Any, facts: Any, can_be_unknown: Any) -> bool:
    """Whether a rule says no: its head fits, and all that it looks at holds or is not known."""
    named = q.action in rule.action if rule.action else q.action not in {"halt", "administer"}
    if not named or rule.site not in {"", q.site}:
        return False
    if not rule.head(q) or (q.preliminary and any(key in WAITS for key, _, _ in rule.tests)):
        return False
    if any(key in can_be_unknown and facts[key] is None for key, _, _ in rule.tests):
        return True
    return all(key in facts and test(facts[key], value) for key, test, value in rule.tests)
