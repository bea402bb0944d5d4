"""The settings of a feed: its options, and a file of overrides that may change while it runs."""

import os
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from chartgate.errors import ConfigError
from chartgate.flows.feeds import FILE_BYTES_MAX, settings_for
from chartgate.gate import Gate
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import SITE
from tests.flows.feeds import FEED, feed_gate

FILTER = """\
[[filter]]
if = "PV1-2 is {value}"
reason = "{reason}"
"""
MakeGate = Callable[..., Gate]


@pytest.fixture
def make(database: Database, clock: FakeClock, tmp_path: Path) -> MakeGate:
    def made(**options: Any) -> Gate:
        return feed_gate(database, clock, tmp_path, **options)

    return made


def write(gate: Gate, text: str | bytes) -> None:
    """A new file takes the old one's place, as an editor or a deployment does it."""
    path = gate.config.folder / "north.toml"
    new = path.with_suffix(".new")
    new.write_bytes(text.encode() if isinstance(text, str) else text)
    os.replace(new, path)


def reasons(gate: Gate) -> list[str]:
    return [reason for _, reason in settings_for(gate, FEED).overrides.filters]


def test_feed_without_options_has_the_defaults(make: MakeGate) -> None:
    settings = settings_for(make(), FEED)
    assert (settings.connection, settings.site) == (FEED, SITE)
    assert (settings.processing_id, settings.charset, settings.sequence) == ("P", "", False)
    assert (settings.triggers, settings.zone, settings.ids_are_identifiers) == ((), UTC, False)
    assert settings.overrides.filters == ()


def test_options_of_a_feed_are_its_settings(make: MakeGate) -> None:
    settings = settings_for(
        make(
            processing_id="T",
            charset="8859/1",
            sequence=True,
            triggers="ADT SIU^S12",
            zone="Europe/Berlin",
            id_from="identifier",
            systems={"NORTH": "urn:north"},
            patient_system="urn:mrn",
        ),
        FEED,
    )
    assert (settings.processing_id, settings.charset, settings.sequence) == ("T", "8859/1", True)
    assert settings.triggers == ("ADT", "SIU^S12")
    assert settings.zone == ZoneInfo("Europe/Berlin")
    assert settings.ids_are_identifiers
    assert (settings.systems, settings.patient_system) == ({"NORTH": "urn:north"}, "urn:mrn")


def test_zone_that_nobody_knows_is_refused_with_an_example(make: MakeGate) -> None:
    with pytest.raises(ConfigError, match=r"Europe/Nowhere.*Europe/Berlin"):
        settings_for(make(zone="Europe/Nowhere"), FEED)


def test_feed_that_is_configured_no_more_is_refused(make: MakeGate) -> None:
    with pytest.raises(ConfigError, match="south-adt is configured no more"):
        settings_for(make(), "south-adt")


def test_file_of_overrides_is_read_once_while_it_stays_the_same(make: MakeGate) -> None:
    gate = make(overrides="north.toml")
    write(gate, FILTER.format(value="T", reason="training"))
    assert reasons(gate) == ["training"]
    assert settings_for(gate, FEED) is settings_for(gate, FEED)


def test_file_of_overrides_counts_as_soon_as_it_changes(make: MakeGate) -> None:
    """A mended rule holds for the next message, and for what is replayed."""
    gate = make(overrides="north.toml")
    write(gate, FILTER.format(value="T", reason="training"))
    before = settings_for(gate, FEED)
    write(gate, FILTER.format(value="T", reason="training ward"))
    assert reasons(gate) == ["training ward"]
    assert settings_for(gate, FEED).tables.revision != before.tables.revision


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("[[filter", "no TOML"),
        ("[[filtre]]\nreason = 'x'\n", "did you mean filter"),
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * (FILE_BYTES_MAX + 1), "larger than"),
    ],
)
def test_file_that_breaks_changes_nothing_and_is_told_once(
    make: MakeGate, broken: str | bytes, why: str
) -> None:
    gate = make(overrides="north.toml")
    write(gate, FILTER.format(value="T", reason="training"))
    assert reasons(gate) == ["training"]
    write(gate, broken)
    with capture_logs() as logs:
        assert [reasons(gate) for _ in range(3)] == [["training"]] * 3
    [entry] = logs
    assert (entry["event"], entry["log_level"]) == ("feed.overrides_broken", "error")
    assert why in entry["detail"]
    write(gate, FILTER.format(value="T", reason="mended"))
    assert reasons(gate) == ["mended"]


def test_file_that_goes_away_changes_nothing(make: MakeGate) -> None:
    gate = make(overrides="north.toml")
    write(gate, FILTER.format(value="T", reason="training"))
    assert reasons(gate) == ["training"]
    (gate.config.folder / "north.toml").unlink()
    with capture_logs() as logs:
        assert reasons(gate) == ["training"]
    assert "cannot be read" in logs[0]["detail"]


@pytest.mark.parametrize("broken", ["[[filter", None])
def test_file_that_is_broken_at_the_start_is_refused(make: MakeGate, broken: str | None) -> None:
    """There are no running rules yet: to go on without any could let in what is to stay out."""
    gate = make(overrides="north.toml")
    if broken is not None:
        write(gate, broken)
    with pytest.raises(ConfigError, match=r"north\.toml"):
        settings_for(gate, FEED)
