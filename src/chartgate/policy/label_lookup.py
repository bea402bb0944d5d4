"""What a code or a text says, by tables: the sensitivities of one coding, of one piece of text.

Codes are met under many names of their system, with and without dots, as expressions, and without
a system at all; texts with accents, odd spacing and invisible characters. What is ambiguous is
read in the more restrictive way.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chartgate.model.label import CONFIDENTIALITY
from chartgate.policy.label_codes import HIERARCHICAL, LABEL_SYSTEMS, SENSITIVITIES, SYSTEMS

Words = Mapping[str, Sequence[tuple[tuple[str, ...], str]]]
Found = frozenset[str]
CODINGS_MAX = 20_000  # that are remembered: some hundreds are usual at one site
TEXTS_MAX = 5_000
TEXT_LENGTH_KEPT_MAX = 200  # longer ones are hardly met twice
NOTHING: Found = frozenset()

WORD = re.compile(r"[^\W_]+")
TAG = re.compile(r"<[^<>]*>")
SNOMED_ID = re.compile(r"\d{6,18}")
ICD_10_DOTTED = re.compile(r"[A-TV-Z]\d[0-9A-Z]\.[0-9A-Z]{1,4}")
ICD_10 = re.compile(r"[A-TV-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?")
DISTINCT_LENGTH_MIN = 5  # a code this long is hardly one of another system by chance
# Names that senders write instead of a URI; those of HL7 v2 table 0396 among them.
NICKNAMES = {
    "atc": ("atc", "whoatc"),
    "cpt": ("c4", "cpt", "cpt4", "cpt-4"),
    "hcpcs": ("hcpcs", "hpc"),
    "icd-10": ("i10", "i10c", "icd10", "icd-10", "icd10cm", "icd-10-cm", "icd10-cm"),
    "icd-10-pcs": ("i10p", "icd10pcs", "icd-10-pcs"),
    "icd-9-cm": ("i9", "i9c", "i9cdx", "icd9", "icd-9", "icd9cm", "icd-9-cm"),
    "loinc": ("ln", "loinc"),
    "rxnorm": ("rxnorm",),
    "snomed": ("sct", "sct2", "snomed", "snomed-ct", "snomedct", "snomed ct"),
    "taxonomy": ("nuccpt", "nucc"),
}
SHORT_NAMES = {uri.lower(): short for short, uris in SYSTEMS.items() for uri in uris}
SHORT_NAMES |= {name: short for short, names in NICKNAMES.items() for name in names}
# Letters of other scripts that look like ours, by which a word could hide.
LOOKALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0501\u04bb\u0458\u04cf"
    "\u0442\u043c\u043d\u043a\u0432\u03b1\u03bf\u03bd\u03c1\u03c4\u03b9\u03ba\u03c5\u0131",
    "aeopcyxisdhjltmhkbaovptikui",
)
SNOMED_URI = "http://snomed.info/"
# Labels, where they stand outside of the places for labels.
LABEL_CODES = {
    (uri, code)
    for name, codes in (("actcode", SENSITIVITIES), ("confidentiality", CONFIDENTIALITY))
    for uri in LABEL_SYSTEMS[name]
    for code in codes
}


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Compiled rules. Codes by system: short name, or URI where it has none."""

    codes: Mapping[str, Mapping[str, Found]]
    excepted: Mapping[str, Mapping[str, Found]]
    ingredients: Words
    terms: Words
    with_terms: bool  # in the names of codes, too


# System, code and display, as they stand in a resource. Raises TypeError for what is no text.
Codings = Callable[[str | None, str | None, str | None], Found]
Texts = Callable[[str], Found]


def lookup(tables: Tables) -> tuple[Codings, Texts, Texts]:
    """Of a coding, of the name of something, and of any text, by the tables."""
    anywhere = dict(_distinct(tables))

    def of_name(text: str) -> Found:
        found = _phrases(tables.ingredients, text)
        return found | _phrases(tables.terms, text) if tables.with_terms else found

    def of_coding(system: str | None, code: str | None, display: str | None) -> Found:
        found = of_name("" + display) if display is not None else NOTHING
        if code is None:
            return found
        found |= _of_code(tables, anywhere, "" + (system or ""), "" + code)
        return found | {code} if (_unversioned(system or ""), code) in LABEL_CODES else found

    def of_text(text: str) -> Found:
        found: set[str] = set()
        for plain in _plain(text):
            found |= _phrases(tables.ingredients, plain) | _phrases(tables.terms, plain)
        return frozenset(found)

    return (
        lru_cache(CODINGS_MAX)(of_coding),
        _kept_if_short(of_name),
        _kept_if_short(of_text),
    )


def folded_words(text: str) -> list[str]:
    """The words of a text, without regard to case, accents, script and what does not show."""
    if text.isascii():
        return WORD.findall(text.lower())
    decomposed = unicodedata.normalize("NFKD", text)
    shown = "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cf"))
    return WORD.findall(shown.casefold().translate(LOOKALIKES))


def _kept_if_short(compute: Texts) -> Texts:
    remembered = lru_cache(TEXTS_MAX)(compute)

    def answer(text: str) -> Found:
        return remembered(text) if len(text) <= TEXT_LENGTH_KEPT_MAX else compute(text)

    return answer


def _plain(text: str) -> Iterator[str]:
    """The text as it is; if it is marked up, also as shown, tags closed up and tags as gaps."""
    yield text
    if "<" in text or "&" in text:
        yield html.unescape(TAG.sub("", text))
        yield html.unescape(TAG.sub(" ", text))


def _phrases(table: Words, text: str) -> Found:
    words = folded_words(text)
    if table.keys().isdisjoint(words):
        return NOTHING
    found = set()
    for index, word in enumerate(words):
        for phrase, sensitivity in table.get(word, ()):
            if tuple(words[index : index + len(phrase)]) == phrase:
                found.add(sensitivity)
    return frozenset(found)


def _of_code(tables: Tables, anywhere: Mapping[str, Found], system: str, code: str) -> set[str]:
    named = _short_name(system)
    plain = unicodedata.normalize("NFKC", code).strip().upper()
    found: set[str] = set()
    for table in _systems(named, plain):
        found |= _in_table(tables.codes.get(table), table, plain)
        found -= _in_table(tables.excepted.get(table), table, plain)
    if named not in tables.codes and named not in SYSTEMS:
        found |= anywhere.get(plain, NOTHING)
        if not named:
            for table in SYSTEMS.keys() - HIERARCHICAL:
                found |= tables.codes.get(table, {}).get(plain, NOTHING)
    return found


def _short_name(system: str) -> str:
    """The short name of a system that rules know, or what it is called."""
    if not system:
        return ""
    plain = _unversioned(system)
    if plain.lower().startswith(SNOMED_URI):  # an edition, a version
        return "snomed"
    return SHORT_NAMES.get(plain.lower(), plain)


def _unversioned(system: str) -> str:
    return system.partition("|")[0].strip().rstrip("/")


def _systems(named: str, code: str) -> tuple[str, ...]:
    """The tables to look in: ICD-10 by the look of the code where the system is not known."""
    if not named:
        return ("icd-10",) if ICD_10.fullmatch(code) else ()
    if named not in SYSTEMS and ICD_10_DOTTED.fullmatch(code):
        return named, "icd-10"
    return (named,)


def _in_table(table: Mapping[str, Found] | None, system: str, code: str) -> set[str]:
    if not table:
        return set()
    if system in HIERARCHICAL:
        bare = "".join(filter(str.isalnum, code))
        return set().union(*(table.get(bare[:n], NOTHING) for n in range(1, len(bare) + 1)))
    found = set(table.get(code, NOTHING))
    if system == "snomed":
        found.update(*(table.get(each, NOTHING) for each in SNOMED_ID.findall(code)))
    return found


def _distinct(tables: Tables) -> Iterator[tuple[str, Found]]:
    """Codes that can be told without their system."""
    for system, table in tables.codes.items():
        if system not in HIERARCHICAL:
            for code, found in table.items():
                if len(code) >= DISTINCT_LENGTH_MIN and not code.isalpha():
                    yield code, found
