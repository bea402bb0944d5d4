"""Adapters are found, checked before their code runs, and held to what they declare."""

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from chartgate.adapters import loader
from chartgate.adapters.loader import (
    check_connection,
    load_connections,
    load_feeds,
    manifests,
    parse_manifest,
)
from chartgate.config import Config, ConnectionConfig
from chartgate.errors import ConfigError
from chartgate.testing.clock import FakeClock

EHR: Mapping[str, Any] = {"url": "https://ehr.test/fhir"}
OUTSIDE = """\
[adapter]
title = "Test"
standard = "none"
versions = ["1"]
ports = ["source"]
resource_types = ["Slot"]
[options.place]
type = "str"
required = true
"""
CODE = """\
from contextlib import asynccontextmanager

class Lake:
    async def read(self, reference, *, if_none_match=None): ...
    async def search(self, resource_type, criteria, *, count_max): ...
    async def history(self, reference, *, count_max): ...
    {more}

@asynccontextmanager
async def open_adapter(connection, *, folder, clock, verdicts, egress):
    yield Lake()
"""


def config(folder: Path, **connections: tuple[str, Mapping[str, Any]]) -> Config:
    return Config(
        folder=folder,
        connections={
            name: ConnectionConfig(name=name, adapter=adapter, site="north", options=options)
            for name, (adapter, options) in connections.items()
        },
    )


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An adapter of another package, named `lake`."""
    folder = tmp_path / "acme_lake"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('run before it was checked')")
    (folder / "adapter.toml").write_text(OUTSIDE)
    (folder / "adapter.py").write_text(CODE.replace("{more}", ""))
    point = EntryPoint(name="lake", value="acme_lake", group="chartgate.adapters")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(loader, "entry_points", lambda group: [point])
    yield folder
    for module in [name for name in sys.modules if name.startswith("acme_lake")]:
        del sys.modules[module]


def test_our_adapters_are_found_by_their_folders() -> None:
    found = manifests()
    assert {"fhir_r4", "hl7v2_mllp"} <= set(found)
    assert found["fhir_r4"].ports == ("source", "sink", "probe")
    assert found["fhir_r4"].options["key_file"].secret
    assert found["hl7v2_mllp"].ports == ("feed", "sink", "transmitter")


async def test_readable_connections_are_opened_and_feeds_are_left_to_the_listener(
    tmp_path: Path,
) -> None:
    both = config(tmp_path, ehr=("fhir_r4", EHR), adt=("hl7v2_mllp", {}))
    async with load_connections(both, clock=FakeClock(), verdicts={}) as connections:
        assert set(connections.sources) == set(connections.sinks) == {"ehr"}
        assert connections.breakers["ehr"].state == "closed"
    async with load_feeds(both, clock=FakeClock()) as feeds:
        assert set(feeds) == {"adt"}


@pytest.mark.parametrize(
    ("adapter", "options", "sentence"),
    [
        ("fhir_r5", {}, "did you mean fhir_r4"),
        ("fhir_r4", {}, "needs the key url: FHIR base"),
        ("fhir_r4", {**EHR, "timeouts_s": 3}, "did you mean timeout_s"),
        ("fhir_r4", {**EHR, "timeout_s": "3"}, "timeout_s must be of type float"),
        ("fhir_r4", {**EHR, "retries": True}, "retries must be of type int"),
        ("fhir_r4", {**EHR, "dialect": "medplm"}, "did you mean medplum"),
        ("hl7v2_mllp", {"prot": 1}, "did you mean port"),
    ],
)
async def test_mistake_in_a_connection_is_named(
    adapter: str, options: Mapping[str, Any], sentence: str, tmp_path: Path
) -> None:
    wrong = config(tmp_path, north=(adapter, options))
    with pytest.raises(ConfigError, match=sentence):
        async with load_connections(wrong, clock=FakeClock(), verdicts={}):
            pass


async def test_adapter_of_another_package_is_read_before_its_code_runs(
    outside: Path, tmp_path: Path
) -> None:
    connection = ConnectionConfig(name="lake", adapter="lake", options={})
    with pytest.raises(ConfigError, match="needs the key place"):
        check_connection(connection, manifests())
    (outside / "__init__.py").write_text("")
    good = config(tmp_path, lake=("lake", {"place": "shore"}))
    async with load_connections(good, clock=FakeClock(), verdicts={}) as connections:
        assert set(connections.sources) == {"lake"}
        assert not connections.sinks
        assert not connections.breakers


@pytest.mark.parametrize(
    ("ports", "more", "sentence"),
    [
        ('["source", "feed"]', "", "says that it is a feed"),
        ('["source"]', "async def listen(self, accept, limits, *, ready): ...", "does not say"),
    ],
)
async def test_ports_are_enforced_both_ways(
    ports: str, more: str, sentence: str, outside: Path, tmp_path: Path
) -> None:
    (outside / "__init__.py").write_text("")
    (outside / "adapter.py").write_text(CODE.replace("{more}", more))
    (outside / "adapter.toml").write_text(OUTSIDE.replace('["source"]', ports))
    good = config(tmp_path, lake=("lake", {"place": "shore"}))
    with pytest.raises(ConfigError, match=sentence):
        async with load_connections(good, clock=FakeClock(), verdicts={}):
            pass


def test_package_that_is_named_but_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in ("acme_none", "acme_none.adapter"):
        point = EntryPoint(name="lake", value=value, group="chartgate.adapters")
        monkeypatch.setattr(loader, "entry_points", lambda group, point=point: [point])
        with pytest.raises(ConfigError, match="not there"):
            manifests()


def test_two_adapters_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name="fhir_r4", value="acme_fhir", group="chartgate.adapters")
    monkeypatch.setattr(loader, "entry_points", lambda group: [point])
    with pytest.raises(ConfigError, match="two adapters are called fhir_r4"):
        manifests()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ports": ["sorce"]}, "did you mean source"),
        ({"titel": "x"}, "did you mean title"),
        ({"title": None}, "needs the key title"),
    ],
)
def test_mistake_in_a_manifest_is_named(change: dict[str, Any], sentence: str) -> None:
    head: dict[str, Any] = {
        "title": "t",
        "standard": "s",
        "versions": [],
        "ports": [],
        "resource_types": [],
    }
    head = {key: value for key, value in {**head, **change}.items() if value is not None}
    with pytest.raises(ConfigError, match=sentence):
        parse_manifest({"adapter": head}, name="x", module="x", where="adapter.toml")


def test_option_of_unknown_type_is_refused() -> None:
    table: dict[str, Any] = {"adapter": {}, "options": {}}
    with pytest.raises(ConfigError, match="needs the key"):
        parse_manifest(table, name="x", module="x", where="adapter.toml")
    lists: list[str] = []
    head = {"title": "t", "standard": "s", "versions": lists, "ports": lists}
    whole = {"adapter": {**head, "resource_types": lists}, "options": {"a": {"type": "string"}}}
    with pytest.raises(ConfigError, match="did you mean str"):
        parse_manifest(whole, name="x", module="x", where="adapter.toml")
