"""`chartgate consent`: what it prints, what it refuses, and that it holds at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.conftest import Cli, Done
from tests.flows.consulted import ANN, consent_of

Ask = Callable[..., Done]


@pytest.fixture
def site(database_url: str, tmp_path: Path, cli: Cli) -> Cli:
    """A command on a store, with an opt-in site that keeps its consents here."""
    file = tmp_path / "chartgate.toml"
    file.write_text(
        f'[store]\ndatabase_url = "{database_url}"\n'
        '[sites.north-clinic]\nconsent = "opt-in"\n'
        '[sites.north-clinic.recipients]\n"*" = "Organization/1"\n'
    )

    def run(*words: str | Path) -> Done:
        return cli("--config", file, "consent", *words)

    return run


@pytest.fixture
def brought(site: Cli, tmp_path: Path) -> Callable[..., Done]:
    """Brings in consents out of a file."""

    def bring(*resources: Any, text: bytes | None = None, options: tuple[str, ...] = ()) -> Done:
        file = tmp_path / "consents.json"
        body = orjson.dumps(resources[0]) if len(resources) == 1 else None
        file.write_bytes(text or body or b"\n".join(orjson.dumps(each) for each in resources))
        return site("import", file, "--site", "north-clinic", *options)

    return bring


@pytest.fixture
def explain(site: Cli) -> Ask:
    """One question about Ann."""

    def ask(*words: str | Path) -> Done:
        return site("explain", ANN, "--site", "north-clinic", *words)

    return ask


def test_consent_from_its_import_to_its_revocation(
    site: Cli, brought: Callable[..., Done], explain: Ask
) -> None:
    done = explain()
    assert (done.code, done.err) == (1, "")
    assert done.out == (
        "no: no consent permits it, and the site's mode is opt-in; it needs a consent\n"
    )
    done = brought(consent_of(ANN), options=("--dry-run",))
    assert (done.code, done.out) == (
        0,
        "would be kept: Consent/c1 of Patient/1, which permits, with no exceptions\n",
    )
    assert explain().code == 1
    done = brought(consent_of(ANN))
    assert done.out.startswith("kept: Consent/c1 of Patient/1")
    done = explain()
    assert (done.code, done.out) == (
        0,
        "yes: Consent/c1#0 permits it; without it the mode opt-in would decide\n",
    )
    assert explain("--purpose", "HMARKT").code == 1
    done = site("show", ANN, "--site", "north-clinic")
    assert done.out == (
        "Patient/1 at north-clinic, where the mode is opt-in: 1 consent\n"
        "  here  Consent/c1  active  permits, with no exceptions\n"
    )
    done = site("revoke", ANN, "--site", "north-clinic", "--reason", "asked at the desk")
    assert (done.code, done.out) == (
        0,
        "revoked: what Patient/1 consented to at north-clinic\n",
    )
    done = explain()
    assert done.code == 1
    assert "consent was revoked; a consent that is given later would permit it" in done.out
    done = site("show", ANN, "--site", "north-clinic", "--json")
    assert [each["says"] for each in done.json["consents"]].count(
        "revokes what was given before"
    ) == 1


def test_json_says_the_same(brought: Callable[..., Done], explain: Ask, site: Cli) -> None:
    done = brought(consent_of(ANN), options=("--json",))
    assert done.json["consents"][0]["patient"] == ANN
    answer = explain("--json").json
    assert (answer["permitted"], answer["rule"], answer["notice"]) == (True, "Consent/c1#0", False)
    assert len(answer["digest"]) == 64
    shown = site("show", ANN, "--site", "north-clinic", "--json").json
    assert (shown["mode"], shown["complete"], len(shown["consents"])) == ("opt-in", True, 1)
    done = site("revoke", ANN, "--site", "north-clinic", "--reason", "x", "--json")
    assert done.json == {"revoked": ANN, "site": "north-clinic"}


def test_bundles_and_lines_are_read_too(brought: Callable[..., Done], explain: Ask) -> None:
    one, two = consent_of(ANN), {**consent_of(ANN, "deny"), "id": "c8"}
    done = brought({"resourceType": "Bundle", "entry": [{"resource": one}, {"resource": two}]})
    assert len(done.out.splitlines()) == 2
    assert "Consent/c8#0 denies it; only a change of that consent would permit it" in explain().out
    done = brought(one, {**two, "status": "inactive"})
    assert "Consent/c8 of Patient/1, which says nothing now" in done.out
    assert explain().code == 0


def test_question_about_a_resource_in_a_file(
    brought: Callable[..., Done], explain: Ask, tmp_path: Path
) -> None:
    data = [{"meaning": "instance", "reference": {"reference": "Observation/5"}}]
    brought(consent_of(ANN, provision={"type": "permit", "data": data}))
    file = tmp_path / "resource.json"
    file.write_bytes(orjson.dumps({"resourceType": "Observation", "id": "5"}))
    assert explain("--resource", file).code == 0
    file.write_bytes(orjson.dumps({"resourceType": "Observation", "id": "6"}))
    assert explain("--resource", file).code == 1
    assert explain("--type", "Observation").code == 1
    assert explain("--type", "Observation", "--resource", file).code == 2
    file.write_text("no JSON")
    assert "holds no FHIR resource" in explain("--resource", file).err


def test_labels_of_the_question_are_asked_about(brought: Callable[..., Done], explain: Ask) -> None:
    brought(consent_of(ANN))
    assert explain("--label", "R", "--label", "PSY").code == 0
    assert "records of substance use need a consent" in explain("--label", "SUD").out
    assert "a label that is not understood" in explain("--label", "WHAT").out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "the file holds no consent"),
        (b"{", "neither JSON nor a JSON value a line"),
        (b"[]", "something in the file is no FHIR resource"),
        (b'{"resourceType":"Bundle","entry":[]}', "the file holds no consent"),
        (b'{"resourceType":"Bundle","entry":[7]}', "something in the file is no FHIR resource"),
        (b'{"resourceType":"Patient","id":"1"}', "that is no FHIR Consent"),
        (b'{"resourceType":"Consent","id":"1","status":"active"}', "would deny everything"),
    ],
)
def test_file_that_will_not_do_is_wrong_input(
    brought: Callable[..., Done], text: bytes, sentence: str
) -> None:
    done = brought(text=text or b"\n")
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err


def test_mistakes_of_the_command_line_are_sentences(site: Cli, tmp_path: Path) -> None:
    done = site("revoke", "7", "--site", "north-clinic", "--reason", "x")
    assert (done.code, 'e.g. "Patient/7"' in done.err) == (2, True)
    done = site("import", tmp_path / "none.json", "--site", "north-clinic")
    assert (done.code, "No such file" in done.err) == (1, True)
    done = site("revoke", ANN, "--site", "north-clinic", "--reason", " ")
    assert (done.code, "say why, in one line" in done.err) == (2, True)


def test_site_that_nobody_names_is_wrong_input(at_house: Cli) -> None:
    """Else a revocation with a slip in it would end nothing."""
    done = at_house("consent", "revoke", ANN, "--site", "north-clinc", "--reason", "x")
    assert (done.code, done.out) == (2, "")
    assert "there is no site north-clinc; known: north-clinic" in done.err


def test_house_without_sites_needs_no_consent_and_honours_a_revocation(at_house: Cli) -> None:
    ask = ("consent", "explain", "Patient/nobody", "--site", "north-clinic")
    assert at_house(*ask).code == 0
    revoke = ("consent", "revoke", "Patient/nobody", "--site", "north-clinic", "--reason", "x")
    assert at_house(*revoke).code == 0
    assert "consent was revoked" in at_house(*ask).out
