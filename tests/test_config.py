"""chartgate.toml: what is refused, and with which sentence."""

from pathlib import Path
from typing import Any

import pytest

from chartgate.config import Config, load_config, parse_config
from chartgate.errors import ConfigError

EHR = {"adapter": "fhir_r4", "url": "http://127.0.0.1:1/fhir"}


def parsed(**table: Any) -> Config:
    return parse_config(table, folder=Path("/nowhere"))


def test_an_empty_file_means_every_default() -> None:
    config = parsed()
    assert config.tenant == "main"
    assert config.web.port == 8480
    assert config.data_dir == Path("/nowhere/var")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"tennant": "x"}, "chartgate.toml has no key tennant; did you mean tenant"),
        ({"web": {"prot": 1}}, r"\[web\] has no key prot; did you mean port"),
        ({"web": {"port": "8480"}}, r"\[web\] port must be of type int, not '8480'"),
        ({"web": {"port": True}}, r"\[web\] port must be of type int"),
        ({"web": {"port": -1}}, r"\[web\] port must not be negative"),
        ({"web": 7}, r"\[web\] must be a table"),
        ({"clients": {"a": {}}}, r"\[clients.a\] needs one of jwks_file"),
        ({"connections": {"a": {"url": "x"}}}, r"\[connections.a\] needs the key adapter"),
        ({"tenant": ""}, "tenant must be a text"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_a_sentence(table: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parsed(**table)


def test_an_adapters_own_options_are_kept_for_it() -> None:
    config = parsed(connections={"north-ehr": EHR, "north-adt": {"adapter": "x", "site": "n"}})
    assert config.connections["north-ehr"].options == {"url": EHR["url"]}
    assert config.connections["north-adt"].site == "n"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "chartgate.toml").write_text('data_dir = "here"\n')
    config = load_config(tmp_path / "chartgate.toml")
    assert config.data_dir == tmp_path / "here"
    assert config.path("keys/a.pem") == tmp_path / "keys" / "a.pem"


def test_a_missing_file_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`chartgate init` writes one"):
        load_config(tmp_path / "chartgate.toml")


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    (tmp_path / "chartgate.toml").write_text("tenant = \n")
    with pytest.raises(ConfigError, match="line 1"):
        load_config(tmp_path / "chartgate.toml")


def test_a_site_says_how_it_stands_to_consent() -> None:
    config = parsed(
        connections={"north-ehr": EHR},
        clients={"scribe": {"jwks_file": "x"}},
        sites={
            "north": {
                "consent": "opt-in-with-exceptions",
                "consent_exceptions": ["PUBHLTH"],
                "consent_from": "north-ehr",
                "consent_fresh_s": 5,
                "time_zone": "Europe/Berlin",
                "recipients": {"scribe": "Device/9 Organization/2", "*": "Organization/1"},
            }
        },
    )
    site = config.site("north")
    assert (site.name, site.consent, site.consent_fresh_s) == ("north", "opt-in-with-exceptions", 5)
    assert site.consent_exceptions == ("PUBHLTH",)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"consent": "opt in"}, r"\[sites.n\] consent must be one of opt-in, opt-out"),
        ({"concent": "opt-in"}, r"\[sites.n\] has no key concent; did you mean consent"),
        ({"consent_from": "ehr"}, r"\[sites.n\] consent_from names no connection"),
        ({"consent": "opt-in-with-exceptions"}, "consent_exceptions and the consent"),
        ({"consent_exceptions": ["TREAT"]}, "consent_exceptions and the consent"),
        ({"consent_fresh_s": 3601}, "consent_fresh_s must be at most 3600"),
        ({"consent_timeout_s": 0}, "consent_timeout_s must be from 0.1 to 60"),
        ({"time_zone": "Europe/Berln"}, "time_zone must be one that is known"),
        ({"time_zone": "../../etc/passwd"}, "time_zone must be one that is known"),
        ({"recipients": {"scrib": "Device/1"}}, "recipients names a client that there is not"),
        ({"recipients": {"*": 7}}, r"\[sites.n\] recipients must be a table of texts"),
    ],
)
def test_a_site_that_cannot_be_meant_is_refused(table: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parsed(sites={"n": table})


def test_a_site_without_a_table_needs_no_consent_but_in_production_must_say_so() -> None:
    assert parsed().site("north").consent == "not-needed"
    with pytest.raises(ConfigError, match=r"in production \[sites.north\] must say consent"):
        parsed(production=True).site("north")
    assert parsed(production=True, sites={"north": {}}).site("north").consent == "not-needed"
