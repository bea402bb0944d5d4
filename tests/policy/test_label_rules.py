"""Files of label rules: what is read from them, what of a site's is a weakening, what is a mistake."""

import hashlib
from typing import Any

import orjson
import pytest

from chartgate.errors import ConfigError
from chartgate.policy.label_codes import SYSTEMS
from chartgate.policy.label_rules import RANGE_MAX, LabelRules, own_label_rules, parse_label_rules

OWN = own_label_rules()
RULE: dict[str, Any] = {"sensitivity": "CEL", "because": "x", "terms": ["star"]}


def body(**changes: Any) -> bytes:
    return orjson.dumps({"version": "7", **changes})  # JSON is YAML


def site(**changes: Any) -> LabelRules:
    return parse_label_rules(body(**changes))


def added(rule: dict[str, Any], **changes: Any) -> set[tuple[str, ...]]:
    """The facts that a site's rule adds to ours."""
    return set(site(rules=[{**RULE, **rule}], **changes).rules - OWN.rules)


def told(text: bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_label_rules(text)
    return str(caught.value).splitlines()


def test_our_own_rules_take_nothing_away() -> None:
    assert (OWN.text, OWN.weakened, dict(OWN.labels)) == ("off", (), {})
    assert "+" not in OWN.version
    assert ("text", "off") in OWN.rules
    assert ("text", "all") not in OWN.rules
    assert len(bytes.fromhex(OWN.digest)) == 32


def test_sites_file_that_says_nothing_changes_nothing_but_its_name() -> None:
    plain = site()
    assert (plain.version, plain.text) == (f"{OWN.version}+7", "off")
    assert (plain.rules, plain.confidentiality) == (OWN.rules, OWN.confidentiality)
    assert (plain.weakened, dict(plain.labels)) == ((), {})


def test_digest_is_of_both_files() -> None:
    """What was decided under which rules can be told for ever."""
    one, two = site(), parse_label_rules(body() + b" ")
    assert len({OWN.digest, one.digest, two.digest}) == 3
    assert site().digest == one.digest
    assert one.digest != hashlib.sha256(body()).hexdigest()
    assert len(bytes.fromhex(one.digest)) == 32


@pytest.mark.parametrize(("option", "more"), [("off", 0), ("concepts", 1), ("all", 2)])
def test_text_option_adds_and_never_takes_away(option: str, more: int) -> None:
    rules = site(text=option)
    assert rules.text == option
    assert rules.rules >= OWN.rules
    assert rules.rules - OWN.rules == {("text", o) for o in ("concepts", "all")[:more]}


@pytest.mark.parametrize(
    ("codes", "facts"),
    [
        ({"icd-10": ["f20.1"]}, {("icd-10", "F201")}),
        ({"urn:x": ["a-b"]}, {("urn:x", "A-B")}),
        ({"cpt": ["99213"]}, {("cpt", "99213")}),
        ({"cpt": ["99213-99213"]}, {("cpt", "99213")}),
        ({"cpt": ["99213-99215"]}, {("cpt", f"9921{n}") for n in (3, 4, 5)}),
        ({"hcpcs": ["X0008-X0011"]}, {("hcpcs", f"X00{n}") for n in ("08", "09", "10", "11")}),
        ({"urn:x": ["b"], "urn:y": ["c", "d"]}, {("urn:x", "B"), ("urn:y", "C"), ("urn:y", "D")}),
    ],
)
def test_codes_and_ranges_are_looked_up_one_by_one(
    codes: dict[str, list[str]], facts: set[tuple[str, str]]
) -> None:
    levels = {("CEL", level) for level in "ULMNR"}
    found = added({"codes": codes, "terms": []})
    assert found == {("CEL", *fact) for fact in facts} | (levels - OWN.rules)


def test_range_to_its_bound_is_read() -> None:
    last = f"X{RANGE_MAX:04}"
    assert len(added({"codes": {"hcpcs": [f"X0000-{last}"]}, "terms": []})) >= RANGE_MAX + 1
    (line,) = told(body(rules=[{**RULE, "codes": {"hcpcs": [f"X0000-X{RANGE_MAX + 1:04}"]}}]))
    assert line.endswith("is no range such as H0001-H0050")


def test_words_are_facts_of_their_own() -> None:
    found = added({"ingredients": ["examplamab alfa"], "terms": ["Film  Star"]})
    assert {f for f in found if len(f) > 2} == {
        ("CEL", "ingredient", "examplamab", "alfa"),
        ("CEL", "term", "film", "star"),
    }


@pytest.mark.parametrize(
    ("levels", "held"), [("N", "N"), ("R", "R"), ("V", "V"), ("RV", "V"), ("VR", "V"), ("NRM", "R")]
)
def test_highest_level_that_a_rule_gives_holds(levels: str, held: str) -> None:
    rules = site(rules=[{**RULE, "sensitivity": "EMP", "confidentiality": c} for c in levels])
    assert rules.confidentiality["EMP"] == held
    assert site(rules=[{**RULE, "sensitivity": "EMP"}]).confidentiality["EMP"] == "R"


def test_what_a_site_takes_away_is_told_and_is_no_fact_any_more() -> None:
    fewer = site(
        without=[
            {"sensitivity": "PSY", "because": "common here", "codes": {"icd-10": ["F43.2"]},
             "ingredients": ["trazodone"]},
            {"sensitivity": "VIO", "because": "no law here protects it"},
        ],
        labels=[
            {"system": "urn:l", "code": "A", "means": "N"},
            {"system": "urn:l", "code": "B", "means": "R"},
            {"system": "urn:l", "code": "C", "means": "V"},
            {"system": "urn:l", "code": "D", "means": "EMP"},
        ],
    )  # fmt: skip
    assert fewer.weakened == (
        "PSY: F432, trazodone no longer labelled, because common here",
        "VIO: all rules no longer labelled, because no law here protects it",
        "the label A of urn:l now means N, and hides nothing",
    )
    assert dict(fewer.labels) == {
        ("urn:l", "A"): "N", ("urn:l", "B"): "R", ("urn:l", "C"): "V", ("urn:l", "D"): "EMP",
    }  # fmt: skip
    gone = OWN.rules - fewer.rules
    assert ("PSY", "ingredient", "trazodone") in gone
    assert {fact[0] for fact in gone} == {"PSY", "VIO"}
    assert all("VIO" not in fact for fact in fewer.rules)
    # A code that is looked up by its beginning is a fact with what it does not hold for.
    narrowed = {fact for fact in fewer.rules if fact[-1] == "F432"}
    assert narrowed
    assert {fact[:2] for fact in narrowed} == {("PSY", "icd-10")}


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"texts": "all"}, "the file: there is no key texts"),
        ({"text": "some"}, "text must be off, concepts or all"),
        ({"rules": 1}, "rules must be a list"),
        ({"without": {}}, "without must be a list"),
        ({"labels": "x"}, "labels must be a list"),
        ({"rules": [{**RULE, "x": 1}]}, "rules[0]: there is no key x"),
        ({"rules": [RULE, {**RULE, "sensitivity": 7}]},
         "rules[1].sensitivity must be a sensitivity code of HL7, e.g. PSY"),
        ({"rules": [{**RULE, "confidentiality": "Q"}]},
         "rules[0].confidentiality must be one of U, L, M, N, R, V"),
        ({"rules": [{**RULE, "because": " "}]},
         "rules[0]: the key because is missing: say why in a few words"),
        ({"rules": [{"sensitivity": "CEL", "terms": ["star"]}]},
         "rules[0]: the key because is missing: say why in a few words"),
        ({"rules": [{**RULE, "terms": []}]},
         "rules[0] names no codes, ingredients or terms, so it finds nothing"),
        ({"rules": [{**RULE, "codes": []}]},
         "rules[0].codes must be a mapping such as {icd-10: [F20]}"),
        ({"rules": [{**RULE, "codes": {"icd-11": ["a"]}}]},
         "rules[0].codes: there is no code system icd-11"),
        ({"rules": [{**RULE, "codes": {"cpt": [99213]}}]},
         "rules[0].codes.cpt must be a list of texts; quote numbers"),
        ({"rules": [{**RULE, "codes": {"cpt": [""]}}]},
         "rules[0].codes.cpt must be a list of texts; quote numbers"),
        ({"rules": [{**RULE, "codes": {"cpt": ["99215-99213"]}}]},
         "rules[0].codes.cpt: 99215-99213 is no range such as H0001-H0050"),
        ({"rules": [{**RULE, "codes": {"hcpcs": ["H1-J2"]}}]},
         "rules[0].codes.hcpcs: H1-J2 is no range such as H0001-H0050"),
        ({"rules": [{**RULE, "codes": {"hcpcs": ["H1-H2-H3"]}}]},
         "rules[0].codes.hcpcs: H1-H2-H3 is no range such as H0001-H0050"),
        ({"rules": [{**RULE, "codes": {"hcpcs": ["H-H2"]}}]},
         "rules[0].codes.hcpcs: H-H2 is no range such as H0001-H0050"),
        ({"rules": [{**RULE, "codes": {"hcpcs": ["H-H"]}}]},
         "rules[0].codes.hcpcs: H-H is no range such as H0001-H0050"),
        ({"rules": [{**RULE, "ingredients": "a"}]}, "rules[0].ingredients must be a list of texts"),
        ({"rules": [{**RULE, "terms": ["a", 1]}]}, "rules[0].terms must be a list of texts"),
        ({"rules": [{**RULE, "terms": ["a", "-"]}]},
         "rules[0].terms holds a text without a word in it"),
        ({"without": [7]}, "without[0] must be a mapping with the key sensitivity"),
        ({"without": [{**RULE, "confidentiality": "R"}]},
         "without[0]: there is no key confidentiality"),
        ({"labels": [{"system": "urn:l", "code": "A"}]},
         "labels[0] must be like {system: https://…, code: VIP1, means: R}"),
        ({"labels": [7]}, "labels[0] must be like {system: https://…, code: VIP1, means: R}"),
        ({"labels": [{"system": "urn:l", "code": "A", "means": "X"}]},
         "labels[0].means must be a confidentiality or a sensitivity code of HL7"),
        ({"labels": [{"system": "urn:l", "code": "A", "means": "R", "x": 1}]},
         "labels[0]: there is no key x"),
    ],
)  # fmt: skip
def test_mistake_is_told_with_file_and_place(changes: Any, mistake: str) -> None:
    lines = told(body(**changes))
    assert lines[0].startswith(f"labels.yaml: {mistake}")
    assert all(line.startswith("labels.yaml: ") for line in lines)


def test_every_mistake_is_told_a_line_each() -> None:
    rules = [{**RULE, "codes": {"cpt": [1], "hcpcs": ["H2-H1"]}, "terms": 1}, {**RULE, "terms": 1}]
    assert len(told(body(text="x", rules=rules, labels=[7], without=[7]))) >= 8


def test_every_short_name_of_a_system_can_be_named() -> None:
    for system in SYSTEMS:
        assert added({"codes": {system: ["ZZ9"]}, "terms": []})
