"""Cases that a tenant's rules must answer in a given way: `policies/tests.yaml`.

cases:
  - says: the picker reads slots
    client: slot-picker            # or person: [roles], or process
    charter: clinic-booking
    action: read
    type: Slot                     # or proposes: book
    site: north-clinic
    expect: permitted              # or refused
    rule: clinic-booking/read/Slot # may be left out
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chartgate.errors import ConfigError, Invalid
from chartgate.formats.strict_yaml import load_yaml
from chartgate.model.charter import RELATIONSHIPS, STAGES
from chartgate.model.decision import Decision, Request
from chartgate.model.label import CONFIDENTIALITY
from chartgate.model.principal import Client, Person, Principal, Process
from chartgate.policy.charter_shape import near
from chartgate.policy.charters import CharterBook
from chartgate.policy.decide import DOING, decide_anew

CASES_MAX = 10_000
EXPECT = {"permitted": True, "refused": False}
TEXTS = (
    "says", "client", "process", "charter", "action", "type", "proposes", "site", "stage",
    "workflow", "confidentiality", "author", "expect", "rule",
)  # fmt: skip
LISTS = ("person", "sites", "relationship", "labels")
SWITCHES = ("mfa", "break_glass", "preliminary")
KEYS = (*TEXTS, *LISTS, *SWITCHES)
ONE_OF: Mapping[str, Sequence[str]] = {
    "action": tuple(DOING),
    "stage": STAGES,
    "confidentiality": CONFIDENTIALITY,
    "expect": tuple(EXPECT),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One question with the answer that it must have."""

    says: str
    request: Request
    permitted: bool
    rule: str | None


def parse_cases(body: bytes, *, file: str) -> tuple[Case, ...]:
    """Raises ConfigError with every mistake, a line each."""
    try:
        value = load_yaml(body)
    except Invalid as error:
        raise ConfigError(f"{file}: {error}") from None
    if (
        not isinstance(value, dict)
        or set(value) != {"cases"}
        or not isinstance(value["cases"], list)
    ):
        raise ConfigError(f"{file}: it is a mapping with the one key cases, which is a list")
    rows = value["cases"]
    if not 0 < len(rows) <= CASES_MAX:
        raise ConfigError(f"{file}: cases must be 1 to {CASES_MAX}")
    mistakes = [f"{file}: cases[{n}]: {m}" for n, row in enumerate(rows) for m in _mistakes(row)]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return tuple(_case(row, n) for n, row in enumerate(rows))


def failures(book: CharterBook, cases: Sequence[Case]) -> Iterator[tuple[Case, Decision, str]]:
    """The cases that are answered otherwise, each with a sentence."""
    for case in cases:
        decision = decide_anew(book.rulebook, case.request)
        if decision.permitted != case.permitted:
            answer = "permitted" if decision.permitted else "refused"
            rule = f" by {decision.rule}" if decision.rule else ""
            yield case, decision, f"is {answer}{rule}: {decision.sentence}"
        elif case.rule is not None and decision.rule != case.rule:
            yield case, decision, f"is decided by {decision.rule or 'no rule'}, not by {case.rule}"


def _mistakes(row: Any) -> Iterator[str]:
    if not isinstance(row, dict):
        yield "it must be a mapping"
        return
    for key, value in row.items():
        yield from _mistakes_of(key, value)
    kinds = row.get("relationship", [])
    if _is_texts(kinds) and not set(kinds) <= set(RELATIONSHIPS):
        yield f"relationship must be out of {', '.join(RELATIONSHIPS)}"
    if sum(key in row for key in ("client", "person", "process")) != 1:
        yield "one of client, person and process says who asks"
    for key in ("action", "charter", "expect"):
        if key not in row:
            yield f"the key {key} is missing"


def _mistakes_of(key: str, value: Any) -> Iterator[str]:
    if key not in KEYS:
        yield f"there is no key {key}{near(str(key), KEYS)}"
    elif key in SWITCHES and not isinstance(value, bool):
        yield f"{key} must be true or false"
    elif key in LISTS and not _is_texts(value):
        yield f"{key} must be a list of texts"
    elif key in TEXTS and not isinstance(value, str):
        yield f"{key} must be a text"
    elif key in ONE_OF and value not in ONE_OF[key]:
        yield f"{key} must be one of {', '.join(ONE_OF[key])}{near(value, ONE_OF[key])}"


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _case(row: Mapping[str, Any], number: int) -> Case:
    return Case(
        says=row.get("says", f"cases[{number}]"),
        request=request_from(row),
        permitted=EXPECT[row["expect"]],
        rule=row.get("rule"),
    )


def request_from(row: Mapping[str, Any]) -> Request:
    """The question of a case, or of a command's options, which have the same names."""
    return Request(
        principal=_principal(row),
        action=row["action"],
        charter=row["charter"],
        site=row.get("site", ""),
        resource_type=row.get("type"),
        proposes=row.get("proposes"),
        stage=row.get("stage"),
        workflow=row.get("workflow"),
        relationship=_set(row.get("relationship")),
        sensitivities=_set(row.get("labels")),
        confidentiality=row.get("confidentiality"),
        break_glass=row.get("break_glass", False),
        preliminary=row.get("preliminary", False),
        context=(("author", row["author"]),) if row.get("author") else (),
    )


def _principal(row: Mapping[str, Any]) -> Principal:
    if row.get("client") is not None:
        return Client(id=row["client"], charter=row["charter"])
    if row.get("person") is not None:
        site = row.get("site")
        sites = row.get("sites") or ([site] if site else [])
        roles = tuple(row["person"])
        return Person(id="somebody", roles=roles, sites=tuple(sites), mfa=row.get("mfa", False))
    return Process(id=row["process"])


def _set(values: Sequence[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)
