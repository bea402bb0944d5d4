"""What production asks of the config, and the list of processors."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from chartgate.config import Config, parse_config
from chartgate.errors import ConfigError
from chartgate.policy.production import check_production, production_findings
from chartgate.testing.gates import parse_test_charter

TODAY = date(2026, 11, 21)
CHARTERS = (parse_test_charter(),)
GOOD: dict[str, Any] = {
    "production": True,
    "web": {"public_url": "https://gate.example"},
    "vendors": {
        "acme": {"contract": "BAA-1", "until": date(2027, 6, 30)},
        "us": {"contract": "own"},
    },
    "clients": {
        "slot-picker": {
            "jwks_url": "https://ai.example/jwks.json",
            "notify_url": "https://ai.example/told",
            "vendor": "acme",
        }
    },
    "connections": {
        "north-ehr": {"adapter": "fhir_r4", "vendor": "us", "url": "https://ehr.example/fhir"}
    },
    "sites": {"north-clinic": {"consent": "not-needed"}},
}


def config(**changes: Any) -> Config:
    """A good one, with "section.name.key" changed; None takes it out."""
    table = {k: _copy(v) for k, v in GOOD.items()}
    for path, value in changes.items():
        *places, last = path.split("/")
        at = table
        for place in places:
            at = at.setdefault(place, {})
        if value is None:
            at.pop(last)
        else:
            at[last] = value
    return parse_config(table, folder=Path())


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize(("key", "least"), [("dwell_s", 3.0), ("word_s", 0.12), ("field_s", 2.0)])
def test_time_to_look_is_only_ever_longer_in_production(key: str, least: float) -> None:
    for value in (least, least + 1):
        assert production_findings(config(**{f"review/{key}": value}), CHARTERS, TODAY) == ()
    less = config(**{f"review/{key}": least / 2})
    assert any(f"[review] {key}" in f for f in production_findings(less, CHARTERS, TODAY))
    with pytest.raises(ConfigError):
        check_production(less, CHARTERS, TODAY)


@pytest.mark.parametrize("value", [-1.0, 601.0, float("nan"), float("inf"), "3", True])
def test_time_to_look_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="dwell_s"):
        config(**{"review/dwell_s": value})


def test_a_good_config_may_be_production() -> None:
    assert production_findings(config(), CHARTERS, TODAY) == ()
    check_production(config(), CHARTERS, TODAY)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"web/public_url": "http://gate.example"}, "public_url must be the https"),
        ({"web": {}}, "public_url must be the https"),
        ({"store/database_url": "postgresql://db.example/x"}, "sslmode=verify-full"),
        ({"store/database_url": "postgresql://db.example/x?sslmode=require"}, "sslmode"),
        ({"clients/slot-picker/vendor": None}, "names no vendor"),
        ({"connections/north-ehr/vendor": None}, "[connections.north-ehr] it names no vendor"),
        ({"vendors/acme/contract": ""}, "acme has no contract"),
        ({"vendors/acme/until": TODAY - timedelta(1)}, "ended on 2026-11-20"),
        ({"egress/private": ["ten"]}, "[egress] private"),
        ({"clients/slot-picker/jwks_url": "http://127.0.0.1/jwks"}, "jwks_url must be https"),
        ({"clients/slot-picker/notify_url": "http://ai.example"}, "notify_url must be https"),
        ({"services/a": {"jwks_url": "http://127.0.0.1/k"}}, "[services.a] jwks_url"),
        ({"connections/north-ehr/url": "http://ehr.example"}, "url must be https"),
        ({"connections/north-ehr/token_url": "http://ehr.example"}, "token_url must be https"),
        ({"connections/north-ehr/url": "file:///x"}, "url: it must begin with https"),
        ({"connections/north-ehr/allow_http": True}, "allow_http lets patient data"),
        ({"connections/north-ehr/send_allow_cleartext": True}, "send_allow_cleartext"),
        ({"sites": {}}, "[sites.north-clinic]"),
        ({"clients": {}}, "slot-picker, which is not registered"),
    ],
    ids=str,
)
def test_what_production_does_not_take_is_said(change: dict[str, Any], says: str) -> None:
    findings = production_findings(config(**change), CHARTERS, TODAY)
    assert len(findings) == 1
    with pytest.raises(ConfigError, match=re.escape(says)):
        check_production(config(**change), CHARTERS, TODAY)
    check_production(config(**change, production=False), CHARTERS, TODAY)


@pytest.mark.parametrize(
    "change",
    [
        {"vendors/acme/until": TODAY},
        {"connections/north-ehr/url": "http://127.0.0.1:8080/fhir"},
        {"store/database_url": "postgresql://db.example/x?sslmode=verify-full"},
        {"store/database_url": "postgresql://127.0.0.1/x"},
        {"store/database_url": "postgresql:///x?host=/run/postgresql"},
    ],
    ids=str,
)
def test_what_stays_on_this_machine_or_holds_today_is_taken(change: dict[str, Any]) -> None:
    assert production_findings(config(**change), CHARTERS, TODAY) == ()


def test_all_findings_are_told_at_once() -> None:
    changes = {"web": {}, "sites": {}, "vendors/acme/contract": ""}
    with pytest.raises(ConfigError) as refused:
        check_production(config(**changes), CHARTERS, TODAY)
    assert str(refused.value).count("\n  - ") == 3
