"""What the AI saw, for a reviewer: whom it is about, what the proposal touches, then the rest.

A search may have shown hundreds of resources. Those that the proposal changes or refers to come
first and open; the others are counted by type and stay folded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chartgate.flows.grounds import patient_in, touched_by
from chartgate.flows.proposals import ProposalView
from chartgate.flows.seen_views import SeenResource
from chartgate.model.resource import Resource
from chartgate.web.console.present import WORDS, Row, json_of, line_of, rows_of
from chartgate.web.console.wording import Names, age_text, text_of, title_of

OPEN_MAX = 3  # panels that are open at first
PANELS_MAX = 20  # of one type; more become lines
LINES_MAX = 300


@dataclass(frozen=True, kw_only=True)
class About:
    """The patient whom the proposal is about."""

    reference: str
    name: str  # empty: the charter shows none
    born: str
    age: str
    gender: str
    read_by_ai: bool


@dataclass(frozen=True, kw_only=True)
class SeenPanel:
    """One resource of the read set. Without `rows` its content is not kept any more."""

    reference: str
    name: str
    version: str
    as_of: datetime
    search: str
    rows: tuple[Row, ...]
    data: str  # the same as JSON
    is_open: bool


@dataclass(frozen=True, kw_only=True)
class SeenLine:
    """One resource among many of its type."""

    reference: str
    text: str


@dataclass(frozen=True, kw_only=True)
class SeenGroup:
    """What the AI saw of one type and the proposal does not touch: panels, or lines if many."""

    title: str
    count: int
    searches: tuple[str, ...]
    panels: tuple[SeenPanel, ...]
    lines: tuple[SeenLine, ...]


@dataclass(frozen=True, kw_only=True)
class SeenPart:
    """The read set."""

    count: int
    touched: tuple[SeenPanel, ...]
    others: tuple[SeenGroup, ...]


def bodies_of(view: ProposalView) -> dict[str, Resource]:
    """What the AI read and what the proposal mentions beside it, by reference."""
    read = {s.seen.reference: s.resource for s in view.read_set if s.resource}
    return {**view.mentions, **read}


def about(view: ProposalView, names: Names, *, now: datetime) -> About | None:
    """None where the proposal names no one patient."""
    bodies = bodies_of(view)
    reference = patient_in(view.proposal.content, bodies)
    if reference is None:  # the charter may hide whose Task it is, and still show the patient
        reference = next((r for r in view.mentions if r.startswith("Patient/")), None)
    if reference is None:
        return None
    patient = bodies.get(reference, {})
    born = patient.get("birthDate")
    return About(
        reference=reference,
        name=title_of({k: v for k, v in patient.items() if k != "birthDate"}, names),
        born=text_of(born, {}),
        age=age_text(born, now),
        gender=text_of(patient.get("gender"), {}),
        read_by_ai=reference not in view.mentions,
    )


def seen_part(view: ProposalView, names: Names) -> SeenPart:
    """The read set, what the proposal touches first."""
    by_reference = {s.seen.reference: s for s in view.read_set}
    near = [r for r in touched_by(view.proposal.content.changes) if r in by_reference]
    patient = patient_in(view.proposal.content, bodies_of(view))
    near += [patient] if patient in by_reference and patient not in near else []
    others: dict[str, list[SeenResource]] = {}
    for reference, seen in by_reference.items():
        if reference not in near:
            others.setdefault(reference.partition("/")[0], []).append(seen)
    return SeenPart(
        count=len(view.read_set),
        touched=tuple(
            _panel(by_reference[r], names, is_open=place < OPEN_MAX) for place, r in enumerate(near)
        ),
        others=tuple(_group(kind, found, names) for kind, found in sorted(others.items())),
    )


def _group(kind: str, found: Sequence[SeenResource], names: Names) -> SeenGroup:
    many = len(found) > PANELS_MAX
    return SeenGroup(
        title=WORDS.sub(" ", kind),
        count=len(found),
        searches=tuple(dict.fromkeys(s.seen.search for s in found if s.seen.search)),
        panels=() if many else tuple(_panel(s, names, is_open=False) for s in found),
        lines=tuple(_line(s, names) for s in found[:LINES_MAX]) if many else (),
    )


def _panel(value: SeenResource, names: Names, *, is_open: bool) -> SeenPanel:
    reference = value.seen.reference
    return SeenPanel(
        reference=reference,
        name=names.get(reference, ""),
        version=value.seen.version,
        as_of=value.seen.as_of,
        search=value.seen.search or "",
        rows=rows_of(value.resource, names) if value.resource else (),
        data=json_of(value.resource) if value.resource else "",
        is_open=is_open,
    )


def _line(value: SeenResource, names: Names) -> SeenLine:
    reference = value.seen.reference
    text = line_of(value.resource, names) if value.resource else "its content is not kept any more"
    return SeenLine(reference=reference, text=text)
