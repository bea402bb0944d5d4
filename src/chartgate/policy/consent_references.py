"""Whether two references name the same thing, as far as that can be told without asking."""

import re
from collections.abc import Set as AbstractSet
from functools import lru_cache

from chartgate.policy.consent_codes import Match

LITERAL = re.compile(
    r"(?:(?P<base>https?://[^?#\s]+)/)?(?P<tail>[A-Z][A-Za-z]{1,40}/[A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)
# Who is meant by one of these is written down elsewhere, so that no other name rules it out.
COLLECTIVE = frozenset({"Group", "CareTeam", "PractitionerRole", "HealthcareService"})


@lru_cache(maxsize=4096)
def parts_of(reference: str) -> tuple[str, str] | None:
    """("https://ehr/fhir", "Patient/7"); the base is "" in a relative one. None: it is another
    kind of reference: a contained resource, a URN, a search."""
    match = LITERAL.fullmatch(reference)
    return (match["base"] or "", match["tail"]) if match else None


def same_reference(one: str, other: str) -> Match:
    """Two servers may each have a Patient/7, so an absolute and a relative reference may or may
    not name the same."""
    first, second = parts_of(one), parts_of(other)
    if first is None or second is None:
        return Match.YES if one == other and not one.startswith("#") else Match.UNSURE
    if first[1] != second[1]:
        return Match.NO
    return Match.YES if first[0] == second[0] else Match.UNSURE


def in_references(named: str, among: AbstractSet[str] | None) -> Match:
    """Whether the named one is among them; UNSURE where they are not known. Names that are no
    literal references, such as "client:slot-picker", are compared as they stand."""
    if among is None:
        return Match.UNSURE
    if named in among and not named.startswith("#"):
        return Match.YES
    if parts_of(named) is None:
        return Match.UNSURE
    literal = (each for each in among if parts_of(each) is not None)
    found = max((same_reference(named, each).value for each in literal), default=0)
    return Match(found)


def may_stand_for(reference: str) -> bool:
    """Whether others may be meant by it."""
    parts = parts_of(reference)
    return parts is None or parts[1].partition("/")[0] in COLLECTIVE
