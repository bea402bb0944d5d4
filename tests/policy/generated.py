"""Charters, forbids and questions drawn at random, for the engine and for its oracle alike.

Names are few, so that what is drawn meets: most questions are about something, and many are
permitted. A rule is drawn once and written twice: as Cedar, and as a head and tests in Python.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

from chartgate.errors import ConfigError
from chartgate.model.charter import RELATIONSHIPS, STAGES, ActionRule, Charter, ReadRule
from chartgate.model.decision import Request
from chartgate.model.label import CONFIDENTIALITY
from chartgate.model.principal import Client, Person, Principal, Process
from chartgate.policy.charters import CharterBook, compile_book
from chartgate.policy.decide import DOING, decide
from chartgate.policy.forbids import (
    READ_ACTIONS,
    RUN_ACTIONS,
    WORK_ACTIONS,
    ForbidFile,
    parse_forbids,
)
from tests.policy import reference

CHARTER_NAMES = ("booking", "notes", "authorisation", "triage")
SITES = ("north", "south", "east")
TYPES = ("Slot", "Patient", "Observation", "Appointment", "Condition")
KINDS = ("book", "note", "task")
ROLES = ("scheduler", "clinician", "front-desk", "operator", "administrator", "privacy-officer")
CLIENTS = ("picker", "scribe", "clerk", "sofia")  # one is called as a person is
PEOPLE = ("sofia", "osei", "nora")
PURPOSES = ("TREAT", "HPAYMT", "HOPERAT")
SENSITIVITIES = ("PSY", "ETH", "HIV", "SDV")
READING = frozenset({"stage", "relationship", "sensitivities", "confidentiality"})
WORKING = frozenset({"stage", "relationship", "author", "own"})
MAYBE = {**dict.fromkeys(READ_ACTIONS, READING), **dict.fromkeys(WORK_ACTIONS, WORKING)}
NONE: frozenset[str] = frozenset()

Head = Callable[[Request], bool]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A forbid in both tongues."""

    id: str
    site: str
    action: tuple[str, ...]  # none: any
    head: Head
    tests: tuple[tuple[str, Callable[[Any, Any], bool], Any], ...]
    cedar: str


@dataclass(frozen=True, kw_only=True)
class World:
    """What a run of questions is put to."""

    charters: Mapping[str, Charter]
    rules: Sequence[Rule]
    book: CharterBook


SECOND_FACTOR = Rule(
    id="chartgate/second-factor",
    site="",
    action=(
        "review", "edit", "hand-back", "rollback", "halt", "resume", "promote", "administer",
    ),
    head=lambda q: isinstance(q.principal, Person),
    tests=(("mfa", lambda known, _: not known, None),),
    cedar="",
)  # fmt: skip
OWN = Rule(
    id="chartgate/own-proposal",
    site="",
    action=("review", "edit", "rollback"),
    head=lambda q: isinstance(q.principal, Person),
    tests=(("own", lambda known, _: bool(known), None),),
    cedar="",
)


def draw_world(random: Random, *, forbids_max: int = 10) -> World:
    """Up to four charters under up to so many forbids."""
    names = random.sample(CHARTER_NAMES, random.randint(1, len(CHARTER_NAMES)))
    charters = {name: draw_charter(random, name) for name in names}
    rules = [draw_rule(random, f"f{n}") for n in range(random.randint(0, forbids_max))]
    mfa_required = random.random() < 0.3
    return compiled(charters, [rule for rule in rules if rule], mfa_required=mfa_required)


def compiled(
    charters: Mapping[str, Charter], rules: Sequence[Rule], *, mfa_required: bool = False
) -> World:
    """The world of these charters and rules."""
    files = [ForbidFile(text=rule.cedar, site=rule.site) for rule in rules]
    book = compile_book(list(charters.values()), forbids=files, mfa_required=mfa_required)
    own = (OWN, SECOND_FACTOR) if mfa_required else (OWN,)
    return World(charters=charters, rules=(*rules, *own), book=book)


def draw_charter(random: Random, name: str) -> Charter:
    """One with any of the types, kinds, sites and clients."""
    return Charter(
        name=name,
        revision=1,
        digest=f"{random.getrandbits(64):x}",
        purpose_of_use=random.choice(PURPOSES),
        sites=dict.fromkeys(_some(random, SITES), "ehr"),
        clients=_some(random, CLIENTS),
        model={},
        model_digest="",
        reads={type_: _read_rule(random) for type_ in _some(random, TYPES)},
        proposes={kind: _action_rule(random, kind) for kind in _some(random, KINDS)},
        events=(),
        budgets={},
        rollout=(),
        halt_when={},
        retention_s={},
    )


def _read_rule(random: Random) -> ReadRule:
    return ReadRule(
        elements=("status",),
        search=random.choice([(), ("status",)]),
        relationship=_some(random, RELATIONSHIPS) if random.random() < 0.3 else (),
    )


def _action_rule(random: Random, name: str) -> ActionRule:
    return ActionRule(
        name=name,
        writes=(),
        guards=(),
        rules=(),
        review_by=random.choice(ROLES[:3]),
        review_within_s=60.0,
        auto=None,
        handoff_to=random.choice(ROLES[:3]),
        handoff_within_s=60.0,
        handoff_below=0.0,
        review_relationship=_some(random, RELATIONSHIPS) if random.random() < 0.3 else (),
        review_roles=_some(random, ROLES[:3]) if random.random() < 0.3 else (),
    )


def _some(random: Random, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(random.sample(names, random.randint(1, len(names))))


def draw_rule(random: Random, id_: str) -> Rule | None:
    """A forbid; None where what was drawn could never apply, which Cedar does not take."""
    principal, who = random.choice(_principals())
    everything: list[tuple[str, Head]] = [("resource", lambda q: True)] * 5
    resource, what = random.choice(everything + _resources())
    actions = tuple(sorted(random.sample(sorted(DOING), random.randint(1, 4))))
    actions = actions if random.random() < 0.5 else ()
    drawn = [random.choice(list(_tests(random))) for _ in range(random.randint(0, 2))]
    scope = f"action in [{', '.join(_action(a) for a in actions)}]" if actions else "action"
    when = " && ".join(f"({cedar})" for cedar, _ in drawn) or "true"
    rule = Rule(
        id=id_,
        site=random.choice(["", "", *SITES]),
        action=actions,
        head=lambda q: who(q) and what(q),
        tests=tuple(test for _, test in drawn),
        cedar=f'@id("{id_}") @sentence("no") forbid ({principal}, {scope}, {resource})'
        f" when {{ {when} }};",
    )
    return rule if _is_taken(rule.cedar) else None


@cache
def _is_taken(cedar: str) -> bool:
    try:
        parse_forbids([cedar])
    except ConfigError:
        return False
    return True


def _action(name: str) -> str:
    return f'Action::"{name}"'


@cache
def _principals() -> list[tuple[str, Head]]:
    """Heads on who asks, as Cedar and as a test."""
    heads: list[tuple[str, Head]] = [("principal", lambda q: True)] * 6
    heads += [(f"principal is {kind.__name__}", _is(kind)) for kind in (Client, Person, Process)]
    heads += [(f'principal in Role::"{role}"', _holds(role)) for role in ROLES]
    heads += [(f'principal == Client::"{client}"', _is_client(client)) for client in CLIENTS]
    return heads


def _is(kind: type) -> Head:
    return lambda q: isinstance(q.principal, kind)


def _holds(role: str) -> Head:
    return lambda q: isinstance(q.principal, Person) and role in q.principal.roles


def _is_client(client: str) -> Head:
    return lambda q: isinstance(q.principal, Client) and q.principal.id == client


@cache
def _resources() -> list[tuple[str, Head]]:
    """Heads on what is asked for, as Cedar and as a test."""
    types = [(f'resource == ResourceType::"{type_}"', _reads(type_)) for type_ in TYPES]
    return types + [(f'resource in Charter::"{name}"', _under(name)) for name in CHARTER_NAMES]


def _reads(type_: str) -> Head:
    return lambda q: q.action in READ_ACTIONS and q.resource_type == type_


def _under(charter: str) -> Head:
    return lambda q: q.action not in READ_ACTIONS and q.charter == charter


Test = tuple[str, Callable[[Any, Any], bool], Any]


def _equal(known: Any, value: Any) -> bool:
    return bool(known == value)


def _tests(random: Random) -> Sequence[tuple[str, Test]]:
    """One of each kind, as Cedar and as a test."""
    site, stage = random.choice(SITES), random.choice(STAGES)
    purpose, charter = random.choice(PURPOSES), random.choice(CHARTER_NAMES)
    workflow, code = random.choice((*KINDS, "read")), random.choice(SENSITIVITIES)
    kind, least = random.choice(RELATIONSHIPS), random.choice(CONFIDENTIALITY)
    author = random.choice([f"client:{c}" for c in CLIENTS])
    above = CONFIDENTIALITY[CONFIDENTIALITY.index(least) :]
    levels = ", ".join(f'"{level}"' for level in above)
    return (
        (f'context.site == Site::"{site}"', ("site", _equal, site)),
        (f'context.purpose == "{purpose}"', ("purpose", _equal, purpose)),
        (f'context.charter == "{charter}"', ("charter", _equal, charter)),
        (f'context.workflow == "{workflow}"', ("workflow", _equal, workflow)),
        ("context.break_glass", ("break_glass", _equal, True)),
        ("principal is Person && !principal.mfa", ("mfa", _equal, False)),
        (f'context has stage && context.stage == "{stage}"', ("stage", _equal, stage)),
        (
            f'context has relationship && !context.relationship.contains("{kind}")',
            ("relationship", lambda known, value: value not in known, kind),
        ),
        (
            f'context has sensitivities && context.sensitivities.contains("{code}")',
            ("sensitivities", lambda known, value: value in known, code),
        ),
        (
            f"context has confidentiality && [{levels}].contains(context.confidentiality)",
            ("confidentiality", lambda known, value: known in value, above),
        ),
        (f'context has author && context.author == "{author}"', ("author", _equal, author)),
    )


def draw_request(random: Random, world: World) -> Request:
    """A question that is mostly about something."""
    charter = random.choice(list(world.charters.values()))
    client = Client(
        id=_mostly(random, charter.clients, (*CLIENTS, "stranger")),
        charter=_mostly(random, (charter.name,), (*CHARTER_NAMES, "nothing")),
        sites=_some(random, SITES) if random.random() < 0.3 else None,
    )
    roles = tuple(random.sample(ROLES, random.randint(0, 3)))
    person = Person(
        id=random.choice(PEOPLE),
        roles=roles,
        sites=_some(random, SITES),
        mfa=random.random() < 0.5,
    )
    several: list[Principal] = [client, person, Process(id="worker")]
    who = random.choices(several, [5, 4, 1])[0]
    return Request(
        principal=who,
        action=random.choice(_ACTIONS_OF[type(who)]),
        charter=_mostly(random, (charter.name,), (*CHARTER_NAMES, "nothing", "*", "*")),
        site=_mostly(random, tuple(charter.sites), (*SITES, "", "west")),
        resource_type=_mostly(random, tuple(charter.reads), (*TYPES, "Flag", None)),
        proposes=_mostly(random, tuple(charter.proposes), (*KINDS, "erase", None)),
        stage=random.choice([None, *STAGES]),
        workflow=random.choice([None, None, None, "note"]),
        relationship=random.choice([None, frozenset(_some(random, RELATIONSHIPS)), frozenset()]),
        sensitivities=random.choice([None, frozenset(_some(random, SENSITIVITIES)), frozenset()]),
        confidentiality=random.choice([None, *CONFIDENTIALITY]),
        break_glass=random.random() < 0.1,
        preliminary=random.random() < 0.3,
        context=random.choice(
            [
                (),
                (("author", client.agent),),
                (("author", client.agent),),
                (("author", f"client:{random.choice(CLIENTS)}"),),
                (("author", person.agent),),
            ]
        ),
    )


_CLIENT = [*("read", "search") * 4, "submit", "withdraw", "show", "list", "review", "zap"]
_ACTIONS_OF: dict[type, list[str]] = {
    Client: _CLIENT,
    Person: [*sorted(WORK_ACTIONS), *sorted(RUN_ACTIONS), "administer", "read", "zap"],
    Process: [*sorted(RUN_ACTIONS), "show", "review", "read"],
}


def _mostly(random: Random, usual: Sequence[Any], any_: Sequence[Any]) -> Any:
    return random.choice(usual if random.random() < 0.9 else any_)


def facts_of(world: World, q: Request) -> dict[str, Any]:
    """What a rule may look at in a question of this kind; None: nobody knows."""
    charter = world.charters.get(q.charter)
    facts: dict[str, Any] = {
        "site": q.site,
        "charter": q.charter,
        "purpose": charter.purpose_of_use if charter else "",
        "workflow": q.workflow or q.proposes or q.action,
        "break_glass": q.break_glass,
    }
    if isinstance(q.principal, Person):
        facts["mfa"] = q.principal.mfa
    author = dict(q.context).get("author")
    own = (q.principal.agent, f"client:{q.principal.id}")
    known = {
        "stage": q.stage,
        "relationship": q.relationship,
        "sensitivities": q.sensitivities,
        "confidentiality": q.confidentiality,
        "author": author,
        "own": None if author is None else author in own,
    }
    return facts | {key: known[key] for key in MAYBE.get(q.action, NONE)}


def difference(world: World, q: Request) -> str | None:
    """How the engine differs from the oracle on this question; None: not at all."""
    decision = decide(world.book, q)
    leave = reference.may(world.charters, q)
    facts, maybe = facts_of(world, q), MAYBE.get(q.action, NONE)
    against = [r.id for r in world.rules if leave and reference.forbids(r, q, facts, maybe)]
    expected = leave and not against
    if decision.permitted != expected:
        return f"engine {decision.permitted} by {decision.rule}, oracle {expected}: {against} {q}"
    if against and (decision.rule or "").rstrip("?") != min(against):
        return f"engine by {decision.rule}, oracle by {min(against)}: {q}"
    if decide(world.book, replace(q)) is not decision:
        return f"asked again, the engine says otherwise: {q}"
    return None
