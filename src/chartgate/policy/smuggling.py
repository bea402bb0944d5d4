"""What an AI's proposal may not carry into a chart, whatever its charter lets it write.

Links, which could carry data out when somebody else's program loads them; attachments that a
reviewer cannot read; identities of another patient whom the same interaction has met; words that
look like others. All of it is computed from the differences, so from the data as it would stand.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chartgate.errors import Unprocessable
from chartgate.formats.compartment import PREFIX, patient_of
from chartgate.model.proposal import Difference
from chartgate.model.resource import Resource

LINK = re.compile(
    r"[a-z][a-z0-9+.\-]{1,20}://|\b(?:java|vb)script\s*:|\bdata:[a-z]+/|\bmailto:\S|\bfile:/"
    r"|\bwww\.\w|(?<!\w)//\w[\w\-]*\.\w|<(?:[a-z][a-z0-9]*[\s/>]|[!/?])|\]\s*\("
    r"|&#x?\d|%3a%2f%2f",
    re.IGNORECASE,
)
# Elements that hold a name of FHIR's own, in the form of an address that nobody loads.
NAMES_AS_LINKS = re.compile(r"(^|\.)(system|(extension\[\d+\]\.)+url|profile\[\d+\])$")
CONTENT_TYPE = re.compile(r"(^|\.)contentType$")
READABLE = re.compile(r"text/plain(\s*;\s*charset=(utf-8|us-ascii))?", re.IGNORECASE)
CODED = re.compile(r"coding\[\d+\]\.(display|code)$|[cC](ode|odeableConcept)(\[\d+\])?\.text$")
ALIKE = frozenset(
    {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "FULLWIDTH", "MATHEMATICAL"}
)
REFERENCE = re.compile(r"(^|\.)reference$")
ADDRESS_ENDS = r"(?=[.,;:)]*(?:\s|$))"
ADDRESS_REST = r"(?:[A-Za-z0-9_~-]+(?:/[A-Za-z0-9_~-]+)*/?)?"  # no dots, no query, no fragment
IDENTIFIER_MIN = 4  # characters; a shorter one would be found by chance
DIGITS_MIN = 7  # of a telephone number
NOT_A_DIGIT = re.compile(r"\D+")


def check_smuggling(
    differences: Sequence[Difference],
    patient: str | None,
    bodies: Mapping[str, Resource],
    *,
    links: Sequence[str] = (),
) -> None:
    """Raises Unprocessable. `bodies` is what the interaction has read, by reference; `patient`
    is the one whom the proposal is about; `links` begin the addresses that may stand in a text."""
    foreign = _foreign(patient, bodies)
    for difference in differences:
        finding = _finding(difference, foreign, links) or _reference_finding(
            difference, patient, bodies
        )
        if finding:
            raise Unprocessable(f"{difference.reference}: {difference.path}: {finding}")


def _finding(difference: Difference, foreign: "Foreign", links: Sequence[str]) -> str | None:
    text, before = difference.after, difference.before
    if not isinstance(text, str):
        return None
    path = difference.path
    if CONTENT_TYPE.search(path) and not READABLE.fullmatch(text.strip()):
        return "an attachment must be text/plain: nobody could review another"
    if not NAMES_AS_LINKS.search(path) and _links(text, links) - _links(before, ()):
        return "a link or markup may not be proposed: who opens it would carry data elsewhere"
    if CODED.search(path) and (word := _disguised(text)):
        return f"letters of several scripts look alike in one of its words ({len(word)} letters)"
    if foreign.is_in(text) and not foreign.is_in(before):
        return "it names another patient whom this interaction has read"
    return None


def _reference_finding(
    difference: Difference, patient: str | None, bodies: Mapping[str, Resource]
) -> str | None:
    """What a reference leads to must be of the same patient, or of none."""
    after = difference.after
    if not REFERENCE.search(difference.path) or not isinstance(after, str):
        return None
    if after.startswith(PREFIX):
        other = patient is not None and after != patient
        return "it refers to another patient than the one whom it is about" if other else None
    held = bodies.get(after)
    whose = patient_of(held) if held else None
    if whose is not None and patient is not None and whose != patient:
        return "it refers to what belongs to another patient"
    return None


def _links(text: Any, allowed: Sequence[str]) -> set[str]:
    if not isinstance(text, str):
        return set()
    # Full-width and other forms of the same letters are read as the plain ones by some programs.
    plain = unicodedata.normalize("NFKC", text)
    for beginning in allowed:
        # The rest of an address may hold nothing that could lead elsewhere or carry data along.
        address = rf"(?<!\S){re.escape(beginning)}{ADDRESS_REST}{ADDRESS_ENDS}"
        plain = re.sub(address, " ", plain)
    return set(LINK.findall(plain))


def _disguised(text: str) -> str | None:
    """The first word that mixes alphabets which hold look-alikes, or hides a character."""
    for word in text.split():
        scripts = {unicodedata.name(c, "?").split(" ")[0] for c in word if c.isalpha()}
        if len(scripts & ALIKE) > 1:
            return word
        if any(unicodedata.category(c) == "Cf" for c in word):
            return word
    return None


class Foreign:
    """The identities of patients whom a proposal is not about."""

    def __init__(self, ids: frozenset[str], phones: frozenset[str], names: frozenset[Any]) -> None:
        self._ids, self._phones, self._names = ids, phones, names

    def is_in(self, text: Any) -> bool:
        """Whether the text holds an identifier, a telephone number or a whole name of theirs."""
        if not isinstance(text, str) or not (self._ids or self._phones or self._names):
            return False
        plain = unicodedata.normalize("NFKC", text).casefold()
        words = frozenset(re.findall(r"\w+", plain))
        digits = NOT_A_DIGIT.sub("", plain) if self._phones else ""
        return (
            any(id_ in plain for id_ in self._ids)
            or any(phone in digits for phone in self._phones)
            or any(name <= words for name in self._names)
        )


def _foreign(patient: str | None, bodies: Mapping[str, Resource]) -> Foreign:
    patients = {r: b for r, b in bodies.items() if b.get("resourceType") == "Patient"}
    own = patients.get(patient or "", {})
    # In what is about no patient, everybody is another one.
    others = [body for reference, body in patients.items() if reference != patient]
    return Foreign(
        frozenset(i for b in others for i in _ids(b)) - set(_ids(own)),
        frozenset(p for b in others for p in _phones(b)) - set(_phones(own)),
        frozenset(n for b in others for n in _names(b)) - set(_names(own)),
    )


def _ids(patient: Mapping[str, Any]) -> Iterator[str]:
    for identifier in _mappings(patient.get("identifier")):
        value = identifier.get("value")
        if isinstance(value, str) and len(value) >= IDENTIFIER_MIN:
            yield unicodedata.normalize("NFKC", value).casefold()


def _phones(patient: Mapping[str, Any]) -> Iterator[str]:
    for contact in _mappings(patient.get("telecom")):
        digits = NOT_A_DIGIT.sub("", str(contact.get("value", "")))
        if len(digits) >= DIGITS_MIN:
            yield digits


def _names(patient: Mapping[str, Any]) -> Iterator[frozenset[str]]:
    """The words of the family name and of the first given name, where both are there."""
    for name in _mappings(patient.get("name")):
        given = name.get("given")
        family, first = name.get("family"), given[0] if isinstance(given, list) and given else None
        if isinstance(family, str) and isinstance(first, str):
            words = unicodedata.normalize("NFKC", f"{family} {first}").casefold()
            if len(found := frozenset(re.findall(r"\w+", words))) > 1:
                yield found


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []
