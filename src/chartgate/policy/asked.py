"""A question to policy as plain values and back, to be counted, kept and asked of other rules."""

from collections.abc import Mapping
from typing import Any

from chartgate.model.decision import Request
from chartgate.model.principal import Client, Person, Principal, Process, Service

HOLDER = ("id", "charter", "roles", "sites", "mfa", "sealed")  # what rules look at
ALWAYS = ("action", "charter", "site", "context", "break_glass", "preliminary")
MAYBE = (  # None where it is not known, or does not matter
    "resource_type",
    "proposes",
    "stage",
    "workflow",
    "relationship",
    "sensitivities",
    "confidentiality",
)
SETS = ("relationship", "sensitivities")


def question_of(request: Request) -> dict[str, object]:
    """What policy looks at, and no more, in a form that is always the same."""
    holder = request.principal
    question: dict[str, object] = {
        "principal": holder.agent,
        "holder": {name: getattr(holder, name) for name in HOLDER if hasattr(holder, name)},
    }
    for name in (*ALWAYS, *MAYBE):
        value = getattr(request, name)
        question[name] = sorted(value) if isinstance(value, frozenset) else value
    return question


def request_of(question: Mapping[str, Any]) -> Request:
    """The question again, as it comes out of JSON."""
    values: dict[str, Any] = {name: question.get(name) for name in (*ALWAYS, *MAYBE)}
    values["context"] = tuple((key, value) for key, value in question.get("context", ()))
    for name in SETS:
        if values[name] is not None:
            values[name] = frozenset(values[name] or ())
    return Request(principal=_principal(question["principal"], question["holder"]), **values)


def _principal(agent: str, holder: Mapping[str, Any]) -> Principal:
    kind, _, id_ = agent.partition(":")
    if kind == "client":
        sites = holder.get("sites")
        bound = None if sites is None else tuple(sites)
        return Client(id=id_, charter=holder["charter"], sites=bound)
    if kind == "person":
        return Person(
            id=id_,
            roles=tuple(holder["roles"]),
            sites=tuple(holder["sites"]),
            mfa=holder.get("mfa", False),
            sealed=holder.get("sealed", False),
        )
    return Service(id=id_, may=()) if kind == "service" else Process(id=id_)
