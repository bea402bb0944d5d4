"""What it takes to approve: how long to look, what to tick off, and who else must agree.

The shortest honest look is the longest of three: a fixed time, the time in which the words can be
read at 500 words a minute, and some seconds for each field that would change.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chartgate.formats import r4
from chartgate.model.charter import ActionRule
from chartgate.model.proposal import Difference
from chartgate.policy.differences import TEXT_VIEW

TYPE = re.compile(r"[A-Za-z]+")
ACKNOWLEDGE_MAX = 100  # differences that one person can be asked to tick off
SAY_TOO_MANY = (
    f"more than {ACKNOWLEDGE_MAX} of its differences would have to be acknowledged one by one; "
    "refuse it, or hand it back"
)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast somebody may be believed to have looked."""

    least_s: float
    word_s: float
    field_s: float


def floor_s(differences: Sequence[Difference], pace: Pace, *, least_s: float = 0.0) -> float:
    """Seconds that looking at these differences takes at least; `least_s` may only raise it."""
    return max(
        pace.least_s,
        least_s,
        pace.word_s * words_in(differences),
        pace.field_s * fields_in(differences),
    )


def words_in(differences: Sequence[Difference]) -> int:
    """Words of all that was and would be there; of an attachment those of its text."""
    decoded = {
        (d.reference, d.path.removesuffix(TEXT_VIEW))
        for d in differences
        if d.path.endswith(TEXT_VIEW)
    }
    read = [d for d in _shown(differences) if (d.reference, d.path) not in decoded]
    return sum(len(str(v).split()) for d in read for v in (d.before, d.after) if v is not None)


def fields_in(differences: Sequence[Difference]) -> int:
    """Elements, and items of those that are lists, that would change."""
    return len({(d.reference, _field(d.path)) for d in _shown(differences)})


def to_acknowledge(action: ActionRule | None, differences: Sequence[Difference]) -> tuple[str, ...]:
    """Keys of the differences that must be ticked off, in their order."""
    named = frozenset(action.review_acknowledge) if action else frozenset()
    return tuple(key_of(d) for d in differences if _base(d) in named)


def key_of(difference: Difference) -> str:
    """What names one difference of a proposal: "MedicationRequest/7#dosageInstruction[0].text"."""
    return f"{difference.reference}#{difference.path}"


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What approvals are still asked for."""

    people: int  # at least so many more
    roles: tuple[str, ...]  # that nobody stands for yet

    @property
    def none(self) -> bool:
        """Whether the approvals are enough."""
        return self.people == 0

    @property
    def words(self) -> str:
        """ "a pharmacist", "2 more people". Only where something is missing."""
        if self.people > len(self.roles):
            count = f"{self.people} more people" if self.people > 1 else "one more person"
            return f"{count}, among them {_listed(self.roles)}" if self.roles else count
        return _listed(self.roles)


def missing(action: ActionRule, approvers: Mapping[str, Sequence[str]]) -> Missing:
    """What is missing where these people, with these roles each, have approved. One person
    stands for one role."""
    unmatched = _unmatched(action.review_roles, approvers)
    people = max(action.review_people - len(approvers), len(unmatched))
    return Missing(people=max(0, people), roles=unmatched)


def _unmatched(roles: Sequence[str], approvers: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Roles left over when as many as possible are given to one person each."""
    holder: dict[str, str] = {}  # person: role

    def place(role: str, tried: set[str]) -> bool:
        for person, held in approvers.items():
            if role not in held or person in tried:
                continue
            tried.add(person)
            if person not in holder or place(holder[person], tried):
                holder[person] = role
                return True
        return False

    return tuple(role for role in roles if not place(role, set()))


def whole_seconds(seconds: float) -> int:
    """Seconds left, as somebody is told them: never too few."""
    return math.ceil(max(0.0, seconds))


def _shown(differences: Sequence[Difference]) -> list[Difference]:
    """Without the type of what is new, which is its title."""
    return [d for d in differences if d.path != "resourceType"]


def _field(path: str) -> str:
    """ "participant[1].actor.reference" is of the field "participant[1]"."""
    return path.removesuffix(TEXT_VIEW).partition(".")[0]


def _base(difference: Difference) -> str:
    """The element's name as a charter says it: "_status" is about "status", and
    "medicationReference" about "medication". What a contained resource says has no such name."""
    name = _field(difference.path).partition("[")[0].removeprefix("_")
    words = TYPE.match(difference.reference)
    element = r4.element_of_base(words[0], name) if words else None
    return element.base if element else name


def _listed(roles: Sequence[str]) -> str:
    return " and ".join(f"a {role}" for role in roles)
