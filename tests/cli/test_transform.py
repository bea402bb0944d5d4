"""`chartgate transform`: what becomes of messages at a site, and why; and what it says otherwise."""

from pathlib import Path

import pytest

from chartgate.testing.messages import adt, header, message, patient, siu
from tests.cli.conftest import Cli

SITE = ("--site", "north-clinic")
SECOND_FEED = """
[connections.north-lab]
adapter = "hl7v2_mllp"
site = "north-clinic"
"""
OVERRIDES = """
[[row]]
table = "ZPI Patient"
row = 'ZPI-3 | extension[].valueString | string | with {"url": "urn:north:ward-note"}'

[[filter]]
trigger = "ADT^A31"
reason = "persons without a visit are not wanted"
"""


@pytest.fixture
def at_site(folder: Path, cli: Cli) -> Cli:
    """The command on a fresh config."""

    def run(*words: str | Path, stdin: str = "") -> object:
        return cli("--config", folder / "chartgate.toml", "transform", *words, stdin=stdin)

    return run  # type: ignore[return-value]


def written(folder: Path, *raws: bytes) -> Path:
    file = folder / "messages.hl7"
    file.write_bytes(b"".join(raws))
    return file


def configured(folder: Path, *, more: str = "", option: str = "") -> None:
    """Adds a connection, or an option to the one there is."""
    file = folder / "chartgate.toml"
    text = file.read_text(encoding="utf-8")
    text = text.replace('id_from = "identifier"', f'id_from = "identifier"\n{option}')
    file.write_text(text + more, encoding="utf-8")


def test_message_is_shown_as_a_bundle(at_site: Cli, folder: Path) -> None:
    done = at_site(written(folder, adt("A01", mrn="p1")), *SITE)
    assert done.code == 0
    types = [entry["resource"]["resourceType"] for entry in done.json["entry"]]
    assert types[0] == "MessageHeader"
    assert {"Patient", "Encounter", "Provenance"} <= set(types)


def test_explanation_names_the_table_and_the_field_of_every_element(
    at_site: Cli, folder: Path
) -> None:
    raw = adt("A01", more=["OBX|1|NM|8302-2^Height^LN||170|cm|||||F", "OBX|2|ST|X||a", "ZZZ|1|x"])
    done = at_site(written(folder, raw), *SITE, "--explain")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert "Patient/1001" in lines
    assert "birthDate PID-7 [PID Patient]" in lines
    assert "subject in code" in lines
    assert "code OBX[2]-3 [OBX Observation]" in lines
    assert "ZZZ-1, ZZZ-2: no row of the tables takes it" in lines
    assert max(map(len, done.out.splitlines())) <= 100


def test_several_messages_are_told_apart_and_one_that_cannot_be_taken_is_the_exit_code(
    at_site: Cli, folder: Path
) -> None:
    wrong = adt("A08", "2").replace(b"19800102", b"19801399")
    file = written(folder, adt(), wrong, message(header("ADT^A01", ""), patient()))
    done = at_site(file, *SITE, "--json")
    assert done.code == 1
    lines = [line for line in done.out.splitlines() if line]
    assert len(lines) == 3
    assert '"outcome":"delivered"' in lines[0]
    assert '"outcome":"quarantined"' in lines[1]
    assert '"outcome":"refused"' in lines[2]
    done = at_site(file, *SITE, "--explain")
    assert "message 2 would be quarantined: PID-7 is not a date (content)" in done.out
    assert "message 3 would be refused: there is no control id at MSH-10 (header)" in done.out


def test_batch_is_taken_apart(at_site: Cli, folder: Path) -> None:
    batch = b"BHS|^~\\&|ADT1|NORTH\r" + adt("A01", "1") + siu("S12", "2") + b"BTS|2\r"
    done = at_site(written(folder, batch), *SITE, "--explain")
    assert done.code == 0
    assert "message 2, SIU^S12" in done.out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello", "does not begin with MSH, FHS or BHS"),
        (b"BHS|^~\\&|A|B\r" + adt() + b"BTS|7\r", "is a batch that would be refused"),
        (b"BHS|^~\\&|A|B\rBTS|0\r", "is a batch without messages"),
    ],
)
def test_file_that_holds_no_messages_is_said_to_be_what_it_is(
    at_site: Cli, folder: Path, content: bytes, words: str
) -> None:
    done = at_site(written(folder, content), *SITE)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "messages.hl7" in done.err


def test_message_is_piped_in(at_site: Cli) -> None:
    done = at_site("-", *SITE, "--explain", stdin=adt().decode())
    assert done.code == 0
    assert "Patient/1001" in done.out
    assert "what was piped in is empty" in at_site("-", *SITE).err


def test_line_ends_of_an_editor_are_taken(at_site: Cli, folder: Path) -> None:
    for end in (b"\n", b"\r\n"):
        file = written(folder, adt().replace(b"\r", end))
        assert "birthDate" in at_site(file, *SITE, "--explain").out


@pytest.mark.parametrize("name", ["none.hl7", "."])
def test_file_that_cannot_be_read_is_named(at_site: Cli, folder: Path, name: str) -> None:
    done = at_site(folder / name, *SITE)
    assert done.code == 2
    assert "cannot be read" in done.err


def test_site_that_is_not_there_is_answered_with_those_that_are(at_site: Cli, folder: Path) -> None:
    done = at_site(written(folder, adt()), "--site", "south")
    assert done.code == 2
    assert "north-adt (site north-clinic)" in done.err
    assert "north-ehr" not in done.err


def test_site_with_two_feeds_needs_the_name_of_one(at_site: Cli, folder: Path) -> None:
    configured(folder, more=SECOND_FEED)
    file = written(folder, adt())
    done = at_site(file, *SITE)
    assert done.code == 2
    assert "--connection" in done.err
    assert "north-lab" in done.err
    assert at_site(file, *SITE, "--connection", "north-lab").code == 0
    done = at_site(file, *SITE, "--connection", "north-ehr")
    assert done.code == 2
    assert "north-lab" in done.err


def test_site_without_a_feed_is_said_to_have_none(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "chartgate.toml").write_text("", encoding="utf-8")
    config = tmp_path / "chartgate.toml"
    done = cli("--config", config, "transform", written(tmp_path, adt()), *SITE)
    assert done.code == 2
    assert "there are: none" in done.err


def test_overrides_of_the_site_are_applied_and_explained(at_site: Cli, folder: Path) -> None:
    configured(folder, option='overrides = "north.toml"')
    (folder / "north.toml").write_text(OVERRIDES, encoding="utf-8")
    done = at_site(written(folder, adt("A01", more=["ZPI|1||bring the chart"])), *SITE, "--explain")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert "extension[].valueString ZPI-3 [ZPI Patient]" in lines
    done = at_site(written(folder, adt("A31")), *SITE)
    assert done.code == 0
    assert done.out == ("message 1 would be filtered: persons without a visit are not wanted\n")


def test_moves_are_applied_once(at_site: Cli, folder: Path) -> None:
    """A bundle beside an explanation must not move what was moved already."""
    configured(folder, option='overrides = "north.toml"')
    (folder / "north.toml").write_text('[[move]]\nfrom = "PID-3"\nto = "PID-18"\n[[move]]\n'
                                       'from = "PID-2"\nto = "PID-3"\n')  # fmt: skip
    raw = adt(mrn="p1").replace(b"PID|1||", b"PID|1|q7|")
    done = at_site(written(folder, raw), *SITE, "--explain", "--json")
    assert done.code == 0
    references = {made["reference"] for made in done.json["explanation"]["made"]}
    entries = [entry["resource"] for entry in done.json["bundle"]["entry"]]
    assert "Patient/q7" in references
    [account] = [entry for entry in entries if entry["resourceType"] == "Account"]
    assert account["identifier"][0]["value"] == "p1"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[[move]]\nform = 'PID-1'\n", "did you mean from?"),
        ("[[move", "north.toml is no TOML"),
        (None, "cannot be read"),
    ],
)
def test_file_of_overrides_that_is_broken_is_said_to_be(
    at_site: Cli, folder: Path, content: str | None, words: str
) -> None:
    configured(folder, option='overrides = "north.toml"')
    if content is not None:
        (folder / "north.toml").write_text(content, encoding="utf-8")
    done = at_site(written(folder, adt()), *SITE)
    assert done.code == 2
    assert words in done.err


def test_header_that_is_not_of_its_type_is_left_out_and_the_patient_is_not(
    at_site: Cli, folder: Path
) -> None:
    """Such a message is delivered; what it says of itself must not stop those who look at it."""
    file = written(folder, adt().replace(b"20240102030405||ADT", b"yesterday||ADT"))
    done = at_site(file, *SITE)
    assert done.code == 0
    [provenance] = [
        entry["resource"]
        for entry in done.json["entry"]
        if entry["resource"]["resourceType"] == "Provenance"
    ]
    assert "occurredDateTime" not in provenance
    assert provenance["agent"][0]["who"]
    assert "birthDate" in at_site(file, *SITE, "--explain").out
