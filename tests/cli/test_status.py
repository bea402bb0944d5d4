"""`chartgate status`."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from chartgate.cli.status import _age, _lines, _reachable, gateway_breakers
from chartgate.config import Config, WebConfig
from chartgate.demo.rig import Rig
from chartgate.flows.ledger import Standing
from chartgate.flows.status import Status
from chartgate.store.atna import AtnaStanding
from chartgate.store.outbox import Stuck
from tests.cli.conftest import Cli


def test_status_shows_queues_stages_write_rights_breakers_and_ledger(at_house: Cli) -> None:
    done = at_house("status")
    assert done.code == 0
    for part in (
        "waiting\n  messages",
        "quarantine",
        "handoffs overdue",
        "proposals",
        "clinic-booking         suggest",
        "dialect lines hold, probed",
        "breaker north-ehr    closed",
        "under the newest signed head",
    ):
        assert part in done.out, part


def test_status_in_json_has_the_same(at_house: Cli) -> None:
    facts = at_house("status", "--json").json
    assert {queue["name"] for queue in facts["queues"]} >= {"messages", "notifications"}
    assert facts["stages"]["visit-note"] == "suggest"
    assert facts["breakers"] == {"north-ehr": "closed"}
    assert facts["ledger"]["trouble"] == ""
    assert facts["charter_mistakes"] == []
    probed = facts["probed"][0]
    assert (probed["connection"], probed["holding"]) == ("north-ehr", probed["tried"])


def test_status_while_a_charter_is_broken_shows_all_and_says_so(house: Rig, at_house: Cli) -> None:
    file = house.folder / "charters" / "visit-note.yaml"
    right = file.read_text()
    try:
        file.write_text("charter: [")
        done = at_house("status")
        facts = at_house("status", "--json").json
    finally:
        file.write_text(right)
    assert done.code == 1
    assert "CHARTERS BROKEN, those that run stay: visit-note.yaml" in done.out
    assert "under the newest signed head" in done.out
    assert facts["charter_mistakes"]


def test_status_without_a_gateway_says_so_and_tells_the_rest(cli: Cli, folder: Path) -> None:
    done = cli("--config", folder / "chartgate.toml", "status")
    assert done.code == 0
    assert "gateway\n  does not answer" in done.out
    assert "none is probed: writes are off; run `chartgate probe CONNECTION`" in done.out
    assert "proposals\n  none" in done.out


def test_status_when_the_tail_of_the_ledger_was_cut_is_trouble(cli: Cli, folder: Path) -> None:
    """The witness knows a head that the store does not."""
    config = folder / "chartgate.toml"
    key = cli("--config", config, "status").code
    assert key == 0
    (folder / "ledger-witness.txt").write_text("north-clinic.example/chartgate\n9\nAAAA\n\n— x y\n")
    done = cli("--config", config, "status")
    assert done.code == 1
    assert "TROUBLE: " in done.out


@contextmanager
def answering(raw: bytes) -> Iterator[int]:
    """A port whose HTTP answers are these bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"this is no HTTP\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", {}),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", None),
        (b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe", {}),
        (
            b'HTTP/1.0 200 OK\r\n\r\nchartgate_breaker_state{connection="a",state="open"} 1.0\n',
            {"a": "open"},
        ),
    ],
)
def test_breakers_are_read_from_whatever_answers(raw: bytes, found: object) -> None:
    with answering(raw) as port:
        config = Config(folder=Path(), web=WebConfig(port=port))
        assert gateway_breakers(config) == found


def test_breakers_are_asked_of_this_machine_and_through_no_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(b"HTTP/1.0 200 OK\r\n\r\n") as port:
        web = WebConfig(host="0.0.0.0", port=port, public_url="https://gate.example")
        assert gateway_breakers(Config(folder=Path(), web=web)) == {}
    assert _reachable(WebConfig(host="::")) == "[::1]"


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0 s"), (0.4, "0 s"), (119, "119 s"), (180, "3 min")]
)
def test_age_is_in_words(seconds: float, words: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert _age(now - timedelta(seconds=seconds), now) == words


def test_status_json_is_one_value(at_house: Cli) -> None:
    assert isinstance(json.loads(at_house("status", "--json").out), dict)


def test_status_names_who_takes_nothing_and_what_an_audit_repository_lacks() -> None:
    now = datetime(2026, 3, 2, 9, tzinfo=UTC)
    since = now - timedelta(minutes=7)
    stuck = Stuck(
        client="slot-picker",
        charter="clinic-booking",
        waiting=3,
        number=9,
        attempts=13,
        since=since,
        last_error="answered 500",
    )
    place = AtnaStanding(
        destination="arr",
        sent=40,
        lag=2,
        oldest=since,
        failures=4,
        sent_at=None,
        last_error="answered 503",
    )
    ledger = Standing(
        size=42, head_size=42, head_signed_at=None, waiting=0, waiting_since=None, trouble=""
    )
    found = Status(
        queues=(),
        proposals={},
        stages={},
        halts=(),
        probed=(),
        stuck=(stuck,),
        atna=(place,),
        ledger=ledger,
    )
    lines = "\n".join(_lines(found, {}, "", now))
    assert (
        "TAKES NOTHING slot-picker: 3 notifications of clinic-booking, oldest 7 min, 13 tries: "
        "answered 500"
    ) in lines
    assert "audit to arr       2, oldest 7 min, 4 tries failed: answered 503" in lines
