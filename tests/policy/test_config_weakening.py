"""Which settings are weaker than others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.config import ClientConfig, Config, ConnectionConfig, SiteConfig
from chartgate.policy.config_weakening import config_weakenings, posture

STRICT = Config(
    folder=Path("/x"),
    production=True,
    connections={"ehr": ConnectionConfig(name="ehr", adapter="fhir_r4", options={"url": "a"})},
    clients={"picker": ClientConfig(name="picker", jwks_file="a.json")},
    sites={"north": SiteConfig(name="north", consent="opt-in")},
)


def found(after: Config, before: Config = STRICT) -> tuple[str, ...]:
    return config_weakenings(posture(before), posture(after))


def section(name: str, **changes: Any) -> Config:
    changed: dict[str, Any] = {name: replace(getattr(STRICT, name), **changes)}
    return replace(STRICT, **changed)


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (replace(STRICT, production=False), "production is false, and was true"),
        (replace(STRICT, tenant="other"), "tenant was changed"),
        (replace(STRICT, sites={}), "[sites.north] is gone"),
        (
            replace(STRICT, sites={"north": SiteConfig(name="north", consent="opt-out")}),
            "[sites.north] consent is opt-out, and was opt-in",
        ),
        (
            replace(
                STRICT,
                sites={"north": SiteConfig(name="north", consent="opt-in", consent_fresh_s=90)},
            ),
            "consent_fresh_s was raised from 60 to 90",
        ),
        (
            replace(STRICT, clients={"picker": ClientConfig(name="picker", jwks_file="b.json")}),
            "[clients.picker] jwks_file was changed",
        ),
        (
            replace(STRICT, connections={"ehr": ConnectionConfig(name="ehr", adapter="evil")}),
            "[connections.ehr] adapter was changed",
        ),
        (section("egress", private=("10.0.0.0/8",)), "[egress] private has more: 10.0.0.0/8"),
        (section("web", token_lifetime_s=900.0), "token_lifetime_s was raised from 300 to 900"),
        (section("web", sign_in_lock_s=1.0), "sign_in_lock_s was lowered"),
        (section("review", dwell_s=2.0), "[review] dwell_s was lowered from 3 to 2"),
        (section("review", word_s=0.0), "[review] word_s was lowered"),
        (section("review", field_s=1.0), "[review] field_s was lowered"),
        (section("ledger", witness_file="b"), "[ledger] witness_file was changed"),
        (section("ledger", interval_s=60.0), "[ledger] interval_s was raised"),
        (section("oidc", issuer="https://evil"), "[oidc] issuer was changed"),
        (section("oidc", keep_passwords=True), "keep_passwords is true, and was false"),
        (section("people", break_glass_roles=("all",)), "break_glass_roles has more: all"),
        (section("people", change_within_h=999), "change_within_h was raised"),
    ],
)
def test_settings_when_they_are_looser_then_a_sentence_says_so(
    after: Config, sentence: str
) -> None:
    told = found(after)
    assert any(sentence in each for each in told), told


@pytest.mark.parametrize(
    "after",
    [
        STRICT,
        section("web", port=1, session_idle_s=60.0, body_bytes_max=1),
        section("review", dwell_s=10.0, word_s=0.2, field_s=3.0),
        section("worker", lanes_max=2),
        section("store", connections_max=20),
        section("people", two_people="required", mfa="required", break_glass_per_day=1),
        replace(
            STRICT,
            clients={**STRICT.clients, "new": ClientConfig(name="new", jwks_file="n.json")},
        ),
        replace(STRICT, clients={}),
        replace(STRICT, folder=Path("/y"), data_dir=Path("/z")),
    ],
)
def test_settings_when_they_are_as_strict_or_stricter_then_nothing_is_said(after: Config) -> None:
    assert found(after) == ()


def test_every_switch_when_it_is_turned_back_then_the_other_direction_is_silent() -> None:
    loose = replace(STRICT, production=False, people=replace(STRICT.people, mfa="off"))
    assert found(STRICT, before=loose) == ()


MODES = ("opt-in", "opt-in-with-exceptions", "opt-out", "not-needed", "whatever")


@pytest.mark.parametrize("before", MODES)
@pytest.mark.parametrize("after", MODES)
def test_consent_is_stricter_only_where_both_modes_are_known(before: str, after: str) -> None:
    told = config_weakenings(
        {"sites": {"n": {"consent": before}}}, {"sites": {"n": {"consent": after}}}
    )
    stricter = "whatever" not in (before, after) and MODES.index(after) < MODES.index(before)
    weaker = f"[sites.n] consent is {after}, and was {before}"
    assert told == (() if before == after or stricter else (weaker,))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"people": {"mfa": "required"}}, {"people": {"mfa": "off"}},
         ("[people] mfa is off, and was required",)),
        ({"people": {"mfa": "off"}}, {"people": {"mfa": "required"}}, ()),
        ({"oidc": {"keep_passwords": True}}, {"oidc": {"keep_passwords": False}}, ()),
        ({"oidc": {"keep_passwords": False}}, {"oidc": {"keep_passwords": True}},
         ("[oidc] keep_passwords is true, and was false",)),
        ({"web": {"x": 1}}, {"web": {}}, ("[web] x is gone",)),
        ({"web": {"site": "a"}}, {"web": {"site": None}}, ("[web] site is gone",)),
        ({"web": {"consent_fresh_s": 1}}, {"web": {}}, ("[web] consent_fresh_s is gone",)),
        ({"web": {}}, {"web": {"x": 1}}, ()),
        ({"web": {"x": 1}}, {}, ("web is gone",)),
        ({"web": {"x": 1}}, {"aaa": {"y": 1}, "web": {}}, ("[web] x is gone",)),
        ({"tenant": "a"}, {"aaa": 1, "tenant": "b"}, ("tenant was changed",)),
        ({"vendors": {"v": {}}}, {"vendors": {}}, ("[vendors.v] is gone",)),
        ({"sites": {"s": {}}}, {}, ("[sites.s] is gone",)),
        ({"launch": {"l": {}}}, {"launch": {}}, ()),
        ({"launch": {}}, {"launch": {"l": {}}}, ("[launch.l] lets another system sign people in",)),
        ({}, {"launch": {"l": {}}}, ("[launch.l] lets another system sign people in",)),
        ({"vendors": {}}, {"vendors": {"v": {}}}, ()),
        ({"clients": {"c": {}}}, {"clients": {}}, ()),
    ],
)  # fmt: skip
def test_posture_that_changes_is_told_where_it_is_weaker(
    before: dict[str, Any], after: dict[str, Any], told: tuple[str, ...]
) -> None:
    assert config_weakenings(before, after) == told


def test_posture_is_plain_and_has_one_form() -> None:
    """So that it can be kept, and compared by a later version."""
    odd: Any = {
        "n": {"b": frozenset({"y", "x"}), "a": Path("k"), "c": (1, None, True, 0.5), 7: "s"}
    }
    plain = posture(replace(STRICT, sites=odd))
    assert orjson.loads(orjson.dumps(plain)) == plain
    assert plain["sites"]["n"] == {"b": ["x", "y"], "a": "k", "c": [1, None, True, 0.5], "7": "s"}
