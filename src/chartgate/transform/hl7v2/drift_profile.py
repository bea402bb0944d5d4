"""What is known of one sender's messages of one type, and how what two workers know is joined.

A position is a segment ("PID"), a field with its first component ("PID-3") or another component
("PID-3.4"). What is known only grows: `merged` is commutative, associative and idempotent, so
that workers may write in any order, and as often as they like.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chartgate.transform.hl7v2.drift_codes import may_be_table

Novelty = tuple[str, str, str]  # kind, position, detail

PER_MILLE = 1000
UNCODED = "-"  # stands for a text that is no code, among the codes of a table


@dataclass(kw_only=True, slots=True)
class Position:
    """One position."""

    born: int = 0  # since which message it has been known, or was last changed with consent
    count: int = 0  # messages in which it was valued, estimated from a sample
    as_of: int = 0  # the message at which `share` was estimated
    share: int = 0  # per mille of the messages of late in which it was valued
    formats: set[str] = field(default_factory=set)
    shortest: int = 0  # length classes; 0: none seen
    longest: int = 0
    codes: dict[str, int] | None = None  # how often, in the sample; None: it is no table


@dataclass(kw_only=True, slots=True)
class Knowledge:
    """What a profile keeps between runs of a worker."""

    messages: int = 0
    positions: dict[str, Position] = field(default_factory=dict)
    rare: set[Novelty] = field(default_factory=set)  # seen, but too seldom to be a change


def fresh(name: str) -> Position:
    """A position of which nothing is known yet."""
    segment, _, number = name.partition("-")
    coded = number.isdigit() and may_be_table(segment, int(number))
    return Position(codes={} if coded else None)


def merged(one: Knowledge, other: Knowledge) -> Knowledge:
    """What both know. Neither is changed."""
    positions = {
        name: _joined(one.positions[name], other.positions[name])
        if name in one.positions and name in other.positions
        else _copied(one.positions.get(name) or other.positions[name])
        for name in sorted({*one.positions, *other.positions})
    }
    return Knowledge(
        messages=max(one.messages, other.messages),
        positions=positions,
        rare={n for n in one.rare | other.rare if not knows(positions, n)},
    )


def knows(positions: Mapping[str, Position], novelty: Novelty) -> bool:
    """Whether that is no novelty any more."""
    kind, name, detail = novelty
    position = positions.get(name)
    if position is None or kind == "vanished-field":
        return False
    match kind:
        case "new-format":
            return detail in position.formats
        case "new-length":
            return position.shortest <= int(detail) <= position.longest
        case "new-code":
            return position.codes is None or detail in position.codes
    return True  # a segment or a field


def accept(knowledge: Knowledge, novelty: Novelty) -> None:
    """Makes a novelty the new normal; its position is then learned anew for a while."""
    kind, name, detail = novelty
    knowledge.rare.discard(novelty)
    if kind == "vanished-field":
        return  # its share is 0 since that was found
    position = knowledge.positions.setdefault(name, fresh(name))
    position.born = max(position.born, knowledge.messages)
    match kind:
        case "new-format":
            position.formats.add(detail)
        case "new-length":
            widen(position, int(detail))
        case "new-code" if detail == UNCODED:
            position.codes = None
        case "new-code" if position.codes is not None:
            position.codes.setdefault(detail, 1)


def widen(position: Position, length: int) -> None:
    """Takes in a length class."""
    position.shortest = min(position.shortest or length, length)
    position.longest = max(position.longest, length)


def to_json(knowledge: Knowledge) -> dict[str, Any]:
    """Compact and sorted: the same knowledge, the same JSON."""
    return {
        "messages": knowledge.messages,
        "positions": {
            name: [
                p.born,
                p.count,
                p.as_of,
                p.share,
                sorted(p.formats),
                p.shortest,
                p.longest,
                None if p.codes is None else dict(sorted(p.codes.items())),
            ]
            for name, p in sorted(knowledge.positions.items())
        },
        "rare": sorted(knowledge.rare),
    }


def from_json(kept: Mapping[str, Any]) -> Knowledge:
    """Back from `to_json`."""
    positions = {}
    for name, (born, count, as_of, share, formats, shortest, longest, codes) in kept[
        "positions"
    ].items():
        positions[name] = Position(
            born=born,
            count=count,
            as_of=as_of,
            share=share,
            formats=set(formats),
            shortest=shortest,
            longest=longest,
            codes=codes,
        )
    rare = {(kind, name, detail) for kind, name, detail in kept["rare"]}
    return Knowledge(messages=kept["messages"], positions=positions, rare=rare)


def _joined(one: Position, other: Position) -> Position:
    as_of, share = max((one.as_of, one.share), (other.as_of, other.share))
    return Position(
        born=max(one.born, other.born),
        count=max(one.count, other.count),
        as_of=as_of,
        share=share,
        formats=one.formats | other.formats,
        shortest=min(one.shortest or other.shortest, other.shortest or one.shortest),
        longest=max(one.longest, other.longest),
        codes=_joined_codes(one.codes, other.codes),
    )


def _joined_codes(
    one: dict[str, int] | None, other: dict[str, int] | None
) -> dict[str, int] | None:
    if one is None or other is None:
        return None  # where one saw that it is no table, it is none
    return {code: max(one.get(code, 0), other.get(code, 0)) for code in sorted({*one, *other})}


def _copied(one: Position) -> Position:
    codes = None if one.codes is None else dict(one.codes)
    return replace(one, formats=set(one.formats), codes=codes)
