"""What of people's sign-in the config refuses."""

from pathlib import Path
from typing import Any

import pytest

from chartgate.config import Config, parse_config
from chartgate.errors import ConfigError

OIDC = {
    "issuer": "https://idp.example",
    "client_id": "us",
    "roles": {"a": "scheduler"},
    "sites": {"b": "north"},
}
LAUNCH = {
    "iss": "https://ehr.example/fhir",
    "client_id": "us",
    "site": "north",
    "roles": ["scheduler"],
}


def parsed(table: dict[str, Any]) -> Config:
    return parse_config(table, folder=Path("/nowhere"))


def test_people_need_nothing_by_default() -> None:
    config = parsed({})
    assert not config.oidc.issuer
    assert not config.mfa_required
    assert parsed({"people": {"mfa": "required"}}).mfa_required


def test_whole_tables_are_taken() -> None:
    config = parsed({"oidc": OIDC, "launch": {"ehr": LAUNCH}})
    assert config.oidc.roles == {"a": "scheduler"}
    assert config.launch["ehr"].roles == ("scheduler",)
    assert config.launch["ehr"].name == "ehr"


def test_production_always_requires_a_second_factor() -> None:
    assert Config(folder=Path("/nowhere"), production=True).mfa_required


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"people": {"mfa": "on"}}, 'mfa must be "off" or "required"'),
        ({"people": {"break_glass_minutes_max": 61}}, "from 1 to 60"),
        ({"people": {"break_glass_review_within_h": 73}}, "from 1 to 72"),
        ({"people": {"break_glass_roles": "clinician"}}, "must be of type"),
        ({"oidc": OIDC | {"issuer": "idp.example"}}, "must begin with https"),
        ({"oidc": OIDC | {"issuer": "https://a@idp.example"}}, "must hold no credentials"),
        ({"oidc": OIDC | {"origins": ["ftp://x"]}}, "must begin with https"),
        ({"oidc": OIDC | {"client_id": ""}}, "needs a client_id"),
        ({"oidc": OIDC | {"scopes": ["profile"]}}, "openid among its scopes"),
        ({"oidc": OIDC | {"roles": {}}}, r"needs \[oidc.roles\]"),
        ({"oidc": OIDC | {"roles": {"a": 1}}}, "must be a table of texts"),
        ({"oidc": OIDC | {"client_secret_file": "a", "private_key_file": "b"}}, "keep one"),
        ({"oidc": OIDC | {"isuer": "x"}}, "did you mean issuer"),
        ({"launch": {"ehr": LAUNCH | {"roles": []}}}, "at least one of roles"),
        ({"launch": {"ehr": LAUNCH | {"iss": "javascript:1"}}}, "must begin with https"),
        ({"launch": {"a": LAUNCH, "b": LAUNCH}}, "have the same iss"),
        ({"launch": {"ehr": {"iss": "https://x.y"}}}, "needs the key"),
    ],
    ids=str,
)
def test_what_could_not_hold_is_a_sentence(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parsed(table)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"web": {"session_idle_s": 901}}, "session_idle_s must be at most 900 in production"),
        ({"oidc": OIDC | {"issuer": "http://idp.example"}}, "must be https in production"),
        ({"oidc": OIDC | {"origins": ["http://keys.example"]}}, "must be https in production"),
        (
            {"launch": {"ehr": LAUNCH | {"iss": "http://ehr.example"}}},
            "must be https in production",
        ),
    ],
    ids=str,
)
def test_production_is_strict_where_a_trial_is_not(table: dict[str, Any], sentence: str) -> None:
    parsed(table)
    with pytest.raises(ConfigError, match=sentence):
        parsed(table | {"production": True})
