"""What is sent leaves by one door, and nothing turns its checks off."""

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "chartgate"
DOOR = "adapters/egress.py"
OWN = {
    "cli/status.py",  # asks the gateway on this machine how it is
    "adapters/hl7v2_mllp/sender.py",  # to addresses that resolve_checked gave it
}
# The demo plays the outside world, on this machine alone.
SHIPPED = sorted(p for p in SOURCE.rglob("*.py") if "demo" not in p.relative_to(SOURCE).parts)
WEAKENED = re.compile(
    r"verify\s*=\s*False|verify_ssl\s*=|ssl\s*=\s*False|CERT_NONE"
    r"|check_hostname\s*=\s*False|_create_unverified_context|_create_stdlib_context"
    r"|trust_env\s*=\s*True|allow_redirects\s*=\s*True|@SECLEVEL"
)
OTHER_DOORS = re.compile(
    r"aiohttp\.(ClientSession|TCPConnector|request)\(|urlopen|http\.client"
    r"|import (requests|httpx|urllib3)\b|(open|create)_connection\(|sock_connect\("
)


def test_there_is_something_to_look_at() -> None:
    assert (SOURCE / DOOR) in SHIPPED
    assert WEAKENED.search("connector = TCPConnector(ssl=False)")
    assert OTHER_DOORS.search("async with aiohttp.ClientSession() as http:")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_turns_a_check_of_outgoing_requests_off(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not WEAKENED.search(text)
    if str(path.relative_to(SOURCE)) not in {DOOR, *OWN}:
        assert not OTHER_DOORS.search(text), "open sessions by chartgate.adapters.egress"
