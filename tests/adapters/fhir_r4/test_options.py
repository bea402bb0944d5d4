"""[connections.NAME] of a FHIR connection: what is refused, and in which words."""

import tomllib
from dataclasses import MISSING, fields
from importlib import resources
from typing import Any

import pytest

from chartgate.adapters.fhir_r4.options import FhirOptions, parse_options
from chartgate.config import ConnectionConfig
from chartgate.errors import ConfigError

URL = "https://ehr.test/fhir"


def parsed(**options: Any) -> FhirOptions:
    return parse_options(ConnectionConfig(name="north-ehr", adapter="fhir_r4", options=options))


def test_plain_url_is_enough() -> None:
    assert parsed(url=f"{URL}/").url == URL


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8/fhir", "http://[::1]/fhir", "http://localhost"]
)
def test_http_is_fine_on_this_machine(url: str) -> None:
    assert parsed(url=url).url == url


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "needs the key url"),
        ({"url": "http://ehr.test/fhir"}, "must be https; allow_http"),
        ({"url": "ehr.test/fhir"}, "must begin with https"),
        ({"url": "https://user:pass@ehr.test/"}, "no credentials"),
        ({"url": "https://ehr.test/?x=1"}, "query"),
        ({"url": "http://[bad"}, "no URL"),
        ({"url": URL, "token_url": "http://ehr.test/token"}, "token_url must be https"),
        ({"url": URL, "client_id": "c"}, "needs key_file"),
        ({"url": URL, "token_url": "https://ehr.test/token"}, "needs client_id"),
        ({"url": URL, "key_alg": "HS256"}, "RS384 or ES384"),
        ({"url": URL, "concurrency_max": 0}, "at least 1"),
        ({"url": URL, "timeout": 3}, "did you mean timeout_s"),
        ({"url": URL, "timeout_s": "3"}, "of type"),
    ],
)
def test_mistake_is_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parsed(**options)


def test_trusted_network_must_be_named_as_such() -> None:
    assert parsed(url="http://ehr.test/fhir", allow_http=True).allow_http


def test_manifest_and_code_know_the_same_options() -> None:
    text = (resources.files("chartgate.adapters.fhir_r4") / "adapter.toml").read_text()
    told = tomllib.loads(text)["options"]
    known = {field.name: field for field in fields(FhirOptions)}
    assert set(told) == set(known)
    for name, spec in told.items():
        kind = known[name].type
        assert spec["type"] == getattr(kind, "__name__", kind)
        assert spec.get("required", False) == (known[name].default is MISSING)
