"""Rules of what contents are sensitive: the packaged ones, and what a site adds to them.

Data with a version (label_rules.yaml), compiled once into tables, so that a resource is labelled by
lookups alone. A site's policies/labels.yaml adds rules and meanings of its own labels, and says how
far text is looked into. It takes something away only under `without`, with a reason, and what it
takes away counts as a weakening.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from chartgate.errors import ConfigError, Invalid, TooLarge
from chartgate.formats.strict_yaml import load_yaml
from chartgate.model.label import CONFIDENTIALITY
from chartgate.policy.charter_shape import near
from chartgate.policy.label_codes import HIERARCHICAL, SENSITIVITIES, SYSTEMS
from chartgate.policy.label_lookup import Codings, Tables, Texts, Words, folded_words, lookup

TextOption = Literal["off", "concepts", "all"]
TEXT_OPTIONS = ("off", "concepts", "all")
FILE_KEYS = ("version", "text", "rules", "labels", "without")
RULE_KEYS = ("sensitivity", "confidentiality", "because", "codes", "ingredients", "terms")
WITHOUT_KEYS = ("sensitivity", "because", "codes", "ingredients", "terms")
LABEL_KEYS = ("system", "code", "means")
RESTRICTED = "R"
RANGES = frozenset({"cpt", "hcpcs"})
RANGE_MAX = 2000  # codes in one range: more is a slip of the pen
FILE = "labels.yaml"


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """Compiled rules. `codings` and `texts` answer from tables, and remember what they answered."""

    version: str  # of the packaged rules, with the site's behind a plus sign
    digest: str  # hex SHA-256 over both files
    text: TextOption = "off"
    weakened: tuple[str, ...] = ()  # a sentence for each thing that the site took away
    rules: frozenset[tuple[str, ...]] = field(default=frozenset(), repr=False)  # what is in force
    confidentiality: Mapping[str, str] = field(repr=False)  # by sensitivity; left out: N
    labels: Mapping[tuple[str, str], str] = field(repr=False)  # the site's own label codes
    codings: Codings = field(repr=False, compare=False)
    texts: Texts = field(repr=False, compare=False)  # of what something is called
    words: Texts = field(repr=False, compare=False)  # of any text


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One rule of a file, or one thing that a site goes without."""

    sensitivity: str
    confidentiality: str
    because: str
    codes: tuple[tuple[str, str], ...]  # system as in Tables, code as it is looked up
    ingredients: tuple[tuple[str, ...], ...]
    terms: tuple[tuple[str, ...], ...]

    @property
    def is_whole(self) -> bool:
        """Whether it names a sensitivity and nothing of it."""
        return not (self.codes or self.ingredients or self.terms)


@dataclass(frozen=True, kw_only=True)
class RuleFile:
    """What one file says."""

    version: str
    text: TextOption
    rules: tuple[Entry, ...]
    labels: Mapping[tuple[str, str], str]
    without: tuple[Entry, ...]


@cache
def own_label_rules() -> LabelRules:
    """The packaged rules, without a site's."""
    return _compile(_own_file(), None, hashlib.sha256(_own_body()).hexdigest())


def parse_label_rules(body: bytes, *, file: str = FILE) -> LabelRules:
    """The packaged rules with a site's file laid over them.

    Raises ConfigError with every mistake that was found, a line each.
    """
    site = _parse(body, file)
    digest = hashlib.sha256(_own_body() + b"\x00" + body).hexdigest()
    return _compile(_own_file(), site, digest)


@cache
def _own_body() -> bytes:
    return (resources.files("chartgate.policy") / "label_rules.yaml").read_bytes()


@cache
def _own_file() -> RuleFile:
    return _parse(_own_body(), "label_rules.yaml")


def _compile(own: RuleFile, site: RuleFile | None, digest: str) -> LabelRules:
    without = site.without if site else ()
    gone = {w.sensitivity for w in without if w.is_whole}
    parts = [w for w in without if not w.is_whole]
    rules = [r for r in own.rules if r.sensitivity not in gone]
    rules += site.rules if site else ()
    ingredients = _words(rules, parts, "ingredients")
    terms = _words(rules, parts, "terms")
    tables = Tables(
        codes=_codes(rules),
        excepted=_codes(parts),
        ingredients=ingredients,
        terms=terms,
        with_terms=site is not None and site.text != "off",
    )
    codings, texts, words = lookup(tables)
    return LabelRules(
        version=f"{own.version}+{site.version}" if site else own.version,
        digest=digest,
        text=site.text if site else "off",
        weakened=tuple(_weakened(site)) if site else (),
        rules=frozenset(_facts(rules, tables, site.text if site else "off")),
        confidentiality=_levels(rules),
        labels=site.labels if site else {},
        codings=codings,
        texts=texts,
        words=words,
    )


def _codes(rules: Sequence[Entry]) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """System: code, or what a code begins with: sensitivities."""
    tables: dict[str, dict[str, frozenset[str]]] = {}
    for rule in rules:
        for system, code in rule.codes:
            table = tables.setdefault(system, {})
            table[code] = table.get(code, frozenset()) | {rule.sensitivity}
    return tables


def _words(rules: Sequence[Entry], parts: Sequence[Entry], kind: str) -> Words:
    """First word: what has to follow it, and the sensitivity."""
    left_out = {(p.sensitivity, phrase) for p in parts for phrase in getattr(p, kind)}
    table: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for rule in rules:
        for phrase in getattr(rule, kind):
            if (rule.sensitivity, phrase) not in left_out:
                table.setdefault(phrase[0], []).append((phrase, rule.sensitivity))
    return table


def _levels(rules: Sequence[Entry]) -> Mapping[str, str]:
    """The confidentiality of each sensitivity: the highest that a rule gives it."""
    levels: dict[str, str] = {}
    for rule in rules:
        held = levels.get(rule.sensitivity, rule.confidentiality)
        levels[rule.sensitivity] = max(held, rule.confidentiality, key=CONFIDENTIALITY.index)
    return levels


def _facts(rules: Sequence[Entry], tables: Tables, text: TextOption) -> Iterator[tuple[str, ...]]:
    """Each thing that is looked for, apart: one that is gone from these is a weakening."""
    for sensitivity, confidentiality in _levels(rules).items():
        for code in CONFIDENTIALITY[: CONFIDENTIALITY.index(confidentiality) + 1]:
            yield sensitivity, code
    for system, table in tables.codes.items():
        exceptions = tables.excepted.get(system, {})
        for code, found in table.items():
            for sensitivity in found:
                without = (e for e, of in exceptions.items() if sensitivity in of)
                yield sensitivity, system, code, *sorted(e for e in without if e.startswith(code))
    for kind, words in (("ingredient", tables.ingredients), ("term", tables.terms)):
        for phrases in words.values():
            yield from ((sensitivity, kind, *phrase) for phrase, sensitivity in phrases)
    yield from (("text", option) for option in TEXT_OPTIONS[: TEXT_OPTIONS.index(text) + 1])


def _weakened(site: RuleFile) -> Iterator[str]:
    for entry in site.without:
        named = [code for _, code in entry.codes]
        named += [" ".join(phrase) for phrase in (*entry.ingredients, *entry.terms)]
        what = ", ".join(named) or "all rules"
        yield f"{entry.sensitivity}: {what} no longer labelled, because {entry.because}"
    for (system, code), means in site.labels.items():
        if means in CONFIDENTIALITY and means not in ("R", "V"):
            yield f"the label {code} of {system} now means {means}, and hides nothing"


def _parse(body: bytes, file: str) -> RuleFile:
    mistakes: list[str] = []
    try:
        value = load_yaml(body)
    except (Invalid, TooLarge) as error:
        raise ConfigError(f"{file}: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("version"), str | int | float):
        raise ConfigError(f'{file} must be a mapping that begins with `version: "1"`')
    mistakes.extend(_unknown_keys("the file", value, FILE_KEYS))
    text = value.get("text", "off")
    if text not in TEXT_OPTIONS:
        mistakes.append("text must be off, concepts or all")
    rules = [_entry(f"rules[{i}]", r, mistakes) for i, r in _items(value, "rules", mistakes)]
    without = [
        _entry(f"without[{i}]", w, mistakes, gone=True)
        for i, w in _items(value, "without", mistakes)
    ]
    labels = dict(
        _label(f"labels[{i}]", each, mistakes) for i, each in _items(value, "labels", mistakes)
    )
    if mistakes:
        raise ConfigError("\n".join(f"{file}: {m}" for m in mistakes))
    return RuleFile(
        version=str(value["version"]),
        text=text,
        rules=tuple(rules),
        labels=labels,
        without=tuple(without),
    )


def _items(value: Mapping[str, Any], key: str, mistakes: list[str]) -> list[tuple[int, Any]]:
    listed = value.get(key, [])
    if not isinstance(listed, list):
        mistakes.append(f"{key} must be a list")
        return []
    return list(enumerate(listed))


def _entry(where: str, value: Any, mistakes: list[str], *, gone: bool = False) -> Entry:
    if not isinstance(value, dict):
        mistakes.append(f"{where} must be a mapping with the key sensitivity")
        value = {}
    mistakes.extend(_unknown_keys(where, value, WITHOUT_KEYS if gone else RULE_KEYS))
    sensitivity = value.get("sensitivity")
    if sensitivity not in SENSITIVITIES:
        hint = near(sensitivity, SENSITIVITIES) if isinstance(sensitivity, str) else ""
        mistakes.append(f"{where}.sensitivity must be a sensitivity code of HL7, e.g. PSY{hint}")
    confidentiality = value.get("confidentiality", RESTRICTED)
    if confidentiality not in CONFIDENTIALITY:
        mistakes.append(f"{where}.confidentiality must be one of {', '.join(CONFIDENTIALITY)}")
        confidentiality = RESTRICTED
    because = value.get("because", "")
    if not isinstance(because, str) or not because.strip():
        mistakes.append(f"{where}: the key because is missing: say why in a few words")
    entry = Entry(
        sensitivity=str(sensitivity),
        confidentiality=confidentiality,
        because=str(because),
        codes=tuple(_coded(where, value.get("codes", {}), mistakes)),
        ingredients=tuple(_phrases(f"{where}.ingredients", value.get("ingredients", []), mistakes)),
        terms=tuple(_phrases(f"{where}.terms", value.get("terms", []), mistakes)),
    )
    if not gone and entry.is_whole:
        mistakes.append(f"{where} names no codes, ingredients or terms, so it finds nothing")
    return entry


def _coded(where: str, value: Any, mistakes: list[str]) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        mistakes.append(f"{where}.codes must be a mapping such as {{icd-10: [F20]}}")
        return
    for system, codes in value.items():
        if system not in SYSTEMS and ":" not in system:
            mistakes.append(
                f"{where}.codes: there is no code system {system}{near(system, SYSTEMS)};"
                " a system of your own is named by its URI"
            )
        if not isinstance(codes, list) or not all(isinstance(c, str) and c for c in codes):
            mistakes.append(f"{where}.codes.{system} must be a list of texts; quote numbers")
            continue
        for code in codes:
            yield from ((system, c) for c in _expanded(where, system, code, mistakes))


def _expanded(where: str, system: str, code: str, mistakes: list[str]) -> Iterator[str]:
    """One code as it is looked up, or all codes of a range."""
    first, _, last = code.partition("-")
    if system in HIERARCHICAL:
        yield "".join(filter(str.isalnum, code)).upper()
    elif system not in RANGES or not last:
        yield code.upper()
    elif (
        _stem(first) == _stem(last)
        and 0 <= (begin := _number(first)) <= (end := _number(last))
        and end - begin <= RANGE_MAX
    ):
        width = len(first) - len(_stem(first))
        yield from (f"{_stem(first)}{number:0{width}}" for number in range(begin, end + 1))
    else:
        mistakes.append(f"{where}.codes.{system}: {code} is no range such as H0001-H0050")


def _stem(code: str) -> str:
    return code.rstrip("0123456789")


def _number(code: str) -> int:
    return int(code[len(_stem(code)) :] or "-1")


def _phrases(where: str, value: Any, mistakes: list[str]) -> Iterator[tuple[str, ...]]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        mistakes.append(f"{where} must be a list of texts")
        return
    for text in value:
        phrase = tuple(folded_words(text))
        if not phrase:
            mistakes.append(f"{where} holds a text without a word in it")
        else:
            yield phrase


def _label(where: str, value: Any, mistakes: list[str]) -> tuple[tuple[str, str], str]:
    if not isinstance(value, dict) or not all(isinstance(value.get(k), str) for k in LABEL_KEYS):
        mistakes.append(f"{where} must be like {{system: https://…, code: VIP1, means: R}}")
        return ("", ""), ""
    mistakes.extend(_unknown_keys(where, value, LABEL_KEYS))
    means = value["means"]
    if means not in SENSITIVITIES and means not in CONFIDENTIALITY:
        mistakes.append(f"{where}.means must be a confidentiality or a sensitivity code of HL7")
    return (value["system"], value["code"]), means


def _unknown_keys(where: str, value: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    for key in value:
        if key not in known:
            yield f"{where}: there is no key {key}{near(key, known)}"
