"""A question to policy and its answer."""

from dataclasses import dataclass, field

from chartgate.model.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Request:
    """May `principal` do `action` on `resource_type` at `site`, under `charter`?"""

    principal: Principal
    action: str  # "read" "search" "submit" "review" "withdraw" "rollback" "halt" "promote" …
    charter: str
    site: str
    resource_type: str | None = None  # FHIR type, for read and search
    proposes: str | None = None  # the charter's action name, for proposal verbs
    stage: str | None = None
    context: tuple[tuple[str, str], ...] = field(
        default=()
    )  # e.g. ("author", "client:slot-picker")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Yes or no, by which rule, in one sentence that a clinician can read."""

    id: str  # hex digest of request and policy: the same question and rules give the same id
    permitted: bool
    rule: str | None  # None: nothing matched, which means no
    sentence: str
