"""What the AI saw, what it proposes and what is there now, as rows of one table a resource."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chartgate.policy.differences import TEXT_VIEW
from chartgate.policy.seen_proposed_now import Kind, SeenProposedNow
from chartgate.web.console.present import NEW, WORDS, label_of, value_text
from chartgate.web.console.wording import Names

WORDS_OF: Mapping[Kind, str] = {
    "conflict": "both changed it",
    "moved": "the chart changed it",
    "proposed": "the proposal changes it",
    "agreed": "both changed it alike",
}


@dataclass(frozen=True, kw_only=True)
class ThreeRow:
    """One element. A text is empty where the element is not there."""

    label: str
    seen: str
    proposed: str
    now: str
    kind: Kind
    said: str  # the kind in words
    left_alone: bool  # the proposal does not speak of it


@dataclass(frozen=True, kw_only=True)
class ThreeGroup:
    """One resource."""

    title: str
    name: str
    reference: str
    rows: tuple[ThreeRow, ...]


def three_groups(lines: Sequence[SeenProposedNow] | None, names: Names) -> tuple[ThreeGroup, ...]:
    """The resources that the chart changed since the AI read them, each with what the proposal
    says of it. Base64 is left out where its text is shown; what is new has nothing to compare."""
    lines = lines or ()
    moved = dict.fromkeys(line.reference for line in lines if line.kind != "proposed")
    texts = {(x.reference, x.path.removesuffix(TEXT_VIEW)) for x in lines if _is_text(x)}
    return tuple(
        ThreeGroup(
            title=WORDS.sub(" ", reference.partition("/")[0]),
            name=names.get(reference, ""),
            reference=reference,
            rows=tuple(
                _row(line, names)
                for line in lines
                if line.reference == reference and (reference, line.path) not in texts
            ),
        )
        for reference in moved
        if not NEW.fullmatch(reference)
    )


def _is_text(line: SeenProposedNow) -> bool:
    return line.path.endswith(TEXT_VIEW)


def _row(line: SeenProposedNow, names: Names) -> ThreeRow:
    def said(value: Any) -> str:
        return "" if value is None else value_text(value, names)

    return ThreeRow(
        label=label_of(line.path),
        seen=said(line.seen),
        proposed=said(line.proposed),
        now=said(line.now),
        kind=line.kind,
        said=WORDS_OF[line.kind],
        left_alone=line.kind == "moved",
    )
