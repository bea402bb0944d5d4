"""`chartgate config check` and `chartgate vendor …`: what production asks, said before it is asked."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from chartgate.clock import utc_now
from chartgate.testing.gates import CHARTER, MODEL
from tests.cli.conftest import Cli

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes chartgate.toml into a folder of its own, beside a charter."""

    def written(text: str) -> Path:
        models = tmp_path / "charters" / "models"
        models.mkdir(parents=True, exist_ok=True)
        (models / "test.yaml").write_bytes(MODEL)
        charter = CHARTER.replace(b"[slot-picker]", b"[scribe]")
        (tmp_path / "charters" / "test.yaml").write_bytes(charter)
        file = tmp_path / "chartgate.toml"
        file.write_text(text)
        return file

    return written


GOOD = """\
production = true
[web]
public_url = "https://gate.example"
[vendors.acme]
contract = "BAA-1"
until = {until}
contact = "privacy@acme.example"
[clients.scribe]
jwks_url = "https://ai.example/jwks.json"
vendor = "acme"
[sites.north-clinic]
consent = "opt-in"
[connections.north-ehr]
adapter = "fhir_r4"
url = "https://ehr.example/fhir"
vendor = "acme"
"""


def good(days: int = 100) -> str:
    return GOOD.replace("{until}", str(utc_now().date() + timedelta(days)))


def test_good_config_is_fit(cli: Cli, write: Write) -> None:
    done = cli("--config", write(good()), "config", "check")
    assert (done.code, done.out) == (0, "chartgate.toml is fit for production\n")


def test_every_finding_is_listed_and_fails_in_production(cli: Cli, write: Write) -> None:
    bad = good().replace('public_url = "https', 'public_url = "http').replace('"BAA-1"', '""')
    done = cli("--config", write(bad), "config", "check")
    assert done.code == 1
    no_contract = "the vendor acme has no contract; name one under [vendors.acme]"
    assert done.out.splitlines() == [
        "refused: [web] public_url must be the https address that clients and browsers use",
        f"refused: [clients.scribe] {no_contract}",
        f"refused: [connections.north-ehr] {no_contract}",
    ]


def test_outside_of_production_findings_are_advice(cli: Cli, write: Write) -> None:
    file = write(
        "[clients.scribe]\njwks_file = 'x.json'\n"
        "[connections.north-ehr]\nadapter = 'fhir_r4'\nurl = 'http://127.0.0.1:1/fhir'\n"
    )
    done = cli("--config", file, "config", "check", "--json")
    assert done.code == 0
    assert done.json["production"] is False
    assert len(done.json["production_findings"]) == 4
    done = cli("--config", file, "config", "check", "--production")
    assert done.code == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[connections.a]\nadapter = 'fhir_r5'\n", "has no key fhir_r5"),
        ("[connections.a]\nadapter = 'fhir_r4'\n", "needs the key url"),
        ("[egress]\nprivate = ['ten']\n", "10.1.0.0/16"),
    ],
)
def test_mistake_fails_everywhere(cli: Cli, write: Write, text: str, says: str) -> None:
    done = cli("--config", write(text), "config", "check")
    assert done.code == 1
    assert says in done.out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[clients.a]\n", "needs one of jwks_file and jwks_url"),
        ("[clients.a]\njwks_file='x'\njwks_url='https://a.example'\n", "needs one of"),
        ("[clients.a]\njwks_url='http://a.example/jwks'\n", "must be https"),
        ("[clients.a]\njwks_url='file:///etc/passwd'\n", "https://"),
        ("[clients.a]\njwks_url='https://0x7f000001/jwks'\n", "disguise"),
        ("[clients.a]\njwks_file='x'\nnotify_url='gopher://a.example'\n", "https://"),
        ("[clients.a]\njwks_file='x'\nvendor='nobody'\n", "no [vendors.nobody]"),
        ("[clients.a]\njwks_file='x'\n[services.a]\njwks_file='x'\n", "one kind"),
        ("[services.a]\njwks_file='x'\nmay=['audti']\n", "did you mean audit"),
        ("[vendors.a]\nuntil = '2027-01-31'\n", "type date"),
    ],
)
def test_config_that_cannot_be_meant_is_wrong_input(
    cli: Cli, write: Write, text: str, says: str
) -> None:
    done = cli("--config", write(text), "config", "check")
    assert done.code == 2
    assert says in done.err


def test_vendor_list_is_the_list_of_processors(cli: Cli, write: Write) -> None:
    file = write(good() + "[connections.lab]\nadapter = 'fhir_r4'\nurl = 'https://e.example'\n")
    done = cli("--config", file, "vendor", "list")
    assert done.code == 0
    assert "acme  BAA BAA-1" in done.out
    assert "clients.scribe  connections.north-ehr  <privacy@acme.example>" in done.out
    assert "connections.lab names no vendor" in done.out
    (vendor,) = cli("--config", file, "vendor", "list", "--json").json["vendors"]
    assert (vendor["days_left"], vendor["state"]) == (100, "good")


@pytest.mark.parametrize(("days", "code", "says"), [(-1, 1, "ended on"), (30, 0, "in 30 days")])
def test_vendor_check_tells_of_ends(
    cli: Cli, write: Write, days: int, code: int, says: str
) -> None:
    done = cli("--config", write(good(days)), "vendor", "check")
    assert done.code == code
    assert says in done.out


def test_vendor_check_of_good_contracts_says_so(cli: Cli, write: Write) -> None:
    done = cli("--config", write(good()), "vendor", "check", "--json")
    assert (done.code, done.json["flaws"], done.json["notices"]) == (0, [], [])
