"""The list of processors."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from chartgate.config import Config, parse_config
from chartgate.errors import ConfigError
from chartgate.policy.vendors import processors, unvouched

TODAY = date(2026, 11, 21)


def config(until: date = date.max, contract: str = "BAA-1") -> Config:
    return parse_config(
        {
            "vendors": {"acme": {"contract": contract, "until": until}, "idle": {}},
            "clients": {
                "b": {"jwks_file": "b.json", "vendor": "acme"},
                "a": {"jwks_file": "a.json", "vendor": "acme"},
                "none": {"jwks_file": "n.json"},
            },
            "connections": {"ehr": {"adapter": "fhir_r4"}},
        },
        folder=Path(),
    )


@pytest.mark.parametrize(
    ("days", "state"),
    [(-1, "ended"), (0, "ends soon"), (30, "ends soon"), (31, "good"), (400, "good")],
)
def test_state_follows_the_last_day(days: int, state: str) -> None:
    acme, idle = processors(config(TODAY + timedelta(days)), TODAY)
    assert (acme.state, acme.is_good) == (state, state != "ended")
    assert acme.clients == ("a", "b")
    assert (idle.state, idle.is_good, idle.clients) == ("no contract", False, ())


def test_what_names_no_vendor_is_listed() -> None:
    assert unvouched(config()) == ("clients.none", "connections.ehr")


def test_flaw_of_a_vendor_is_a_sentence() -> None:
    one = config(TODAY - timedelta(1))
    assert "ended on 2026-11-20" in one.vendor_flaw("acme", TODAY)
    assert one.vendor_flaw("acme", TODAY - timedelta(1)) == ""
    assert "no contract" in one.vendor_flaw("idle", TODAY)
    assert "no contract" in one.vendor_flaw("nobody", TODAY)
    assert "names no vendor" in one.vendor_flaw("", TODAY)


def test_vendor_that_is_not_registered_stops_the_start() -> None:
    with pytest.raises(ConfigError, match=r"\[connections.ehr\] vendor: there is no \[vendors.x\]"):
        parse_config({"connections": {"ehr": {"adapter": "fhir_r4", "vendor": "x"}}}, folder=Path())


def test_each_vendor_is_listed_with_what_it_runs_and_nothing_else() -> None:
    vendors = {"acme": {"contract": "B", "until": date.max}, "beta": {"contract": "C"}}
    ehrs = {"two": "acme", "one": "acme", "three": "beta"}
    config = parse_config(
        {
            "vendors": vendors,
            "connections": {n: {"adapter": "fhir_r4", "vendor": v} for n, v in ehrs.items()},
        },
        folder=Path(),
    )
    acme, beta = processors(config, TODAY)
    assert (acme.vendor, beta.vendor) == (config.vendors["acme"], config.vendors["beta"])
    assert (acme.connections, beta.connections) == (("one", "two"), ("three",))
    assert unvouched(config) == ()
