"""A question to policy and its answer."""

from dataclasses import dataclass, field, replace

from chartgate.model.label import MOST_RESTRICTIVE, Labels
from chartgate.model.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Request:
    """May `principal` do `action` on `resource_type` at `site`, under `charter`?

    None means that nobody knows. A rule that asks for what nobody knows means no. A preliminary
    question comes before the resource is at hand: rules on its labels and on the relationship
    wait for the question at release, so its yes is never a yes to releasing anything.
    """

    principal: Principal
    action: str  # "read" "search" "submit" "review" "withdraw" "rollback" "halt" "promote" …
    charter: str
    site: str
    resource_type: str | None = None  # FHIR type, for read and search
    proposes: str | None = None  # the charter's action name, for proposal verbs
    stage: str | None = None
    workflow: str | None = None  # None: the action that is proposed, else the verb
    relationship: frozenset[str] | None = None  # "care-team" "encounter" "appointment"
    sensitivities: frozenset[str] | None = None  # of the resource's labels, e.g. "PSY"
    confidentiality: str | None = None  # of the resource's labels: "U" to "V"
    break_glass: bool = False  # under a break-glass that is open
    preliminary: bool = False
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


def at_release(request: Request, labels: Labels, relationship: frozenset[str]) -> Request:
    """The question once the resource is at hand. Of labels that were not understood nothing is
    known but that they may be the most restrictive."""
    return replace(
        request,
        preliminary=False,
        sensitivities=None if labels.unknown else labels.sensitivities,
        confidentiality=MOST_RESTRICTIVE if labels.unknown else labels.confidentiality,
        relationship=relationship,
    )
