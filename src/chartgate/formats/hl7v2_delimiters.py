"""The delimiters of an HL7 v2 message, and the error for a message that cannot be read.

Source: HL7 v2.9 section 2.5.4.
"""

from dataclasses import dataclass
from functools import lru_cache

from chartgate.errors import Invalid

ABSENT = "\x00"  # stands for a delimiter that the header does not define; never in a message
ENCODING_DEFAULT = "^~\\&"
ENCODING_MAX = 5


class MalformedMessage(Invalid):
    """Not a message that can be read. `position` is the field, e.g. "MSH-2"."""

    def __init__(self, sentence: str, *, kind: str, position: str) -> None:
        super().__init__(sentence)
        self.kind = kind  # "header", "delimiters", "charset", "structure" or "batch"
        self.position = position


@dataclass(frozen=True)
class Separators:
    """The delimiters that MSH-1 and MSH-2 define; ABSENT for those they do not."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ABSENT

    @property
    def encoding(self) -> str:
        """MSH-2 as it was sent."""
        parts = (self.component, self.repetition, self.escape, self.subcomponent, self.truncation)
        return "".join(part for part in parts if part != ABSENT)


NOTHING_DELIMITS = Separators(*[ABSENT] * 6)  # for MSH-1 and MSH-2, which are no text


def separators_of(field: str, encoding: str) -> Separators | None:
    """The delimiters, or None: letters, digits, blanks and repeats would change what is said."""
    if not 2 <= len(encoding) <= ENCODING_MAX:
        return None  # before the cache: what it keeps is short
    return _separators_of(field, encoding)


@lru_cache(maxsize=256)
def _separators_of(field: str, encoding: str) -> Separators | None:
    marks = field + encoding
    if len(set(marks)) != len(marks) or not all(is_delimiter(mark) for mark in marks):
        return None
    return Separators(field, *encoding.ljust(ENCODING_MAX, ABSENT))


def is_delimiter(mark: str) -> bool:
    """Whether this character may be one: visible ASCII, neither a letter nor a digit."""
    return "!" <= mark <= "~" and not mark.isalnum()
