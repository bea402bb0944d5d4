"""Dialect files: all of ours are read, and a typo in one is named."""

from importlib import resources

import pytest

from chartgate.adapters.fhir_r4.dialect import PROBED, Habits, load_dialect, parse_dialect
from chartgate.errors import ConfigError

NAMES = [
    file.name.removesuffix(".toml")
    for file in (resources.files("chartgate.adapters.fhir_r4") / "dialects").iterdir()
]


@pytest.mark.parametrize("name", NAMES)
def test_every_dialect_is_read_and_says_how_it_knows(name: str) -> None:
    dialect = load_dialect(name)
    assert dialect.lines
    for line in dialect.lines.values():
        assert line.basis == "probed" or line.source
    assert dialect.stand_ins["Appointment"] == ("status", "cancelled")
    assert dialect.stand_ins["DocumentReference"] == ("status", "entered-in-error")


def test_medplum_is_known_by_its_habits() -> None:
    medplum = load_dialect("medplum")
    assert medplum.setting("scope") == "system/*.cruds"
    assert medplum.lines["if_match_on_patch"].value is False
    assert medplum.lines["if_match_on_put"].value is True
    assert medplum.lines["patch_test"].value is True
    assert medplum.setting("retry_after_on_429") is False
    assert medplum.setting("enforces_required_bindings") is False
    assert "meta.project" in medplum.ignored("Slot")


def test_documents_decide_nothing_about_writing() -> None:
    habits = Habits(load_dialect("medplum"), {})
    assert not any(habits.holds(line) for line in PROBED)
    assert habits.patch_guard == "put"
    assert Habits(habits.dialect, {"patch_test": (True, "")}).patch_guard == "test"
    both = {"patch_test": (True, ""), "if_match_on_patch": (True, "")}
    assert Habits(habits.dialect, both).patch_guard == "if-match"
    assert Habits(habits.dialect, {"patch_test": (False, "")}).patch_guard == "put"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[lines.if_match_on_putt]\nvalue=true", "did you mean if_match_on_put"),
        ("[linez]", "did you mean lines"),
        ("[lines.delete]\nvalue=true\nbasis='guessed'", "documented.*or.*probed"),
        ("[lines.delete]\nvalue=true\nbasis='documented'", "name its source"),
        ("[lines.delete]\nvalue='yes'\nbasis='probed'", "must be of type bool"),
        ("[lines.scope]\nvalue=true\nbasis='probed'", "must be of type str"),
        ("[lines.marker]\nvalue='header'\nbasis='probed'", "identifier.*or.*tag"),
        ("[lines.delete]\nvalu=true\nbasis='probed'", "did you mean value"),
        ("[stand_ins.Slot]\nelement='status'\nbasis='probed'", "needs element and value"),
        ("[ignores.Slot]\npaths='x'\nbasis='probed'", "list of element paths"),
        ("extends = 'generc'", "did you mean generic"),
        ("lines = 3", "must hold tables"),
        ("junk", "cannot be read"),
    ],
)
def test_mistake_in_a_dialect_is_named(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse_dialect(text, name="test")


def test_unknown_dialect_names_the_near_one() -> None:
    with pytest.raises(ConfigError, match="did you mean medplum"):
        load_dialect("medplumm")
