"""`chartgate demo` as a person runs it: the story, and the walk on data of others."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chartgate.store.embedded_place import remove_place

ROOT = Path(__file__).parents[2]
CORPORA = ROOT.parent / "shared" / "corpora"
WITHIN_S = 170.0
STORY = (
    r"1\. A patient registers.*",
    r".*ADT\^A04 about Patient/\S+: acknowledged, AA",
    r".*slot-picker read \d+ resources and proposed book, confidence 0\.93",
    r".*Slot/\S+ status: free → busy",
    r".*sofia approves content [0-9a-f]{12}",
    r".*written and read back: Appointment/\S+ new → 1, Slot/\S+ 1 → 2",
    r"2\. Another booking.*",
    r".*not written; handed to front-desk: status of Slot/\S+ changed.*slot-is-free.*",
    r"3\. A patient whom the client cannot tell apart.*",
    r".*confidence 0\.41: handed to front-desk, due .*",
    r"4\. A visit ends.*",
    r".*dr-osei adds one: version 2",
    r".*the edited note is in the chart: DocumentReference/\S+ new → 1",
    r"5\. A payer took up a prior authorisation.*",
    r".*written and read back: Task/\S+ 1 → 2",
    r"6\. The first booking is rolled back\.",
    r".*taken back; in the EHR Slot/\S+ is free again",
    r"7\. The ledger.*",
    r".*everything holds",
)
WALK = (
    r"1\. A patient registers.*",
    r".*written and read back: .*",
    r"6\. The first booking is rolled back\.",
    r".*is free again",
    r".*everything holds",
)

Demo = Callable[..., str]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Runs `CI=1 chartgate demo …` in a folder of its own to its end; what it printed."""
    folder = tmp_path / "demo"

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "chartgate", "demo", "--folder", str(folder), *arguments]
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"CI": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            output, _ = process.communicate(timeout=WITHIN_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return output

    yield run
    remove_place(folder / "var")


@pytest.mark.slow
def test_demo_tells_its_seven_chapters_and_ends_well(demo: Demo) -> None:
    assert_in_order(STORY, demo())


@pytest.mark.slow
def test_demo_of_other_data_says_what_was_taken_quarantined_and_refused(
    demo: Demo, tmp_path: Path
) -> None:
    bundles, messages = tmp_path / "bundles", tmp_path / "day.hl7"
    bundles.mkdir()
    (bundles / "two.json").write_text(json.dumps(BUNDLE))
    messages.write_bytes(b"\r".join(MESSAGES))
    output = demo("--bundles", str(bundles), "--messages", str(messages))
    assert_in_order(
        (
            r"Bundles: 1 files, 3 resources taken, 1 refused",
            r" +2  Patient",
            r" +1  Practitioner",
            r" +1  refused: Nonsense: .*",
            r"Messages: 3 sent, .*answered \{'AA': 2, 'AR': 1\}",
            r" +2  delivered",
            r" +1  header · MSH-10 · there is no control id",
            r" +2  Patient",
            *WALK,
        ),
        output,
    )


@pytest.mark.slow
@pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not beside this checkout")
def test_demo_of_public_corpora_accounts_for_every_message(demo: Demo) -> None:
    messages = CORPORA / "hl7v2" / "linuxforhealth" / "messages.jsonl"
    output = demo("--bundles", str(CORPORA / "synthea-r4"), "--messages", str(messages))
    assert_in_order((r"Bundles: .* 0 refused", r" +12  Patient", r"Messages: .*", *WALK), output)
    head = re.search(r"Messages: (\d+) sent.*answered (\{.*\})", output)
    assert head, output
    answered = json.loads(head[2].replace("'", '"'))
    assert int(head[1]) == sum(answered.values())
    refused = sum(answered.get(code, 0) for code in ("AR", "AE", "CR", "CE"))
    unasked = answered["none asked"]  # taken or not, nobody was told
    kept = counted(output, "inbox") + refused
    assert kept <= int(head[1]) <= kept + unasked
    assert counted(output, "quarantine") >= refused


def assert_in_order(patterns: tuple[str, ...], output: str) -> None:
    """Each pattern is a whole line of the output, after the one before it."""
    lines = iter(output.splitlines())
    for pattern in patterns:
        found = any(re.fullmatch(pattern, line) for line in lines)
        assert found, f"no line {pattern!r} (after the ones before it) in\n{output}"


def counted(output: str, title: str) -> int:
    """The sum of the counts under a title."""
    rows = re.search(rf"^  {title}\n((?:    .*\n)+)", output, flags=re.MULTILINE)
    assert rows, output
    return sum(int(row.split()[0]) for row in rows[1].splitlines())


def patient(number: int) -> dict[str, object]:
    """A synthetic patient whom a clinic can call."""
    return {
        "resourceType": "Patient",
        "id": f"p{number}",
        "identifier": [{"system": "urn:example:mrn", "value": f"p{number}"}],
        "name": [{"family": f"Family{number}", "given": ["Given"]}],
        "birthDate": f"198{number}-02-03",
        "telecom": [{"system": "phone", "value": "555-0100"}],
    }


def message(number: int, *, control_id: str) -> bytes:
    """An ADT^A04 about the patient of that number."""
    segments = (
        f"MSH|^~\\&|REG|NORTH|CHARTGATE|NORTH|2026010208000{number}||ADT^A04^ADT_A01|{control_id}|P|2.5.1",
        f"EVN|A04|2026010208000{number}",
        f"PID|1||p{number}^^^NORTH^MR||Family{number}^Given||198{number}0203|F",
        f"PV1|1|O|NORTH||||||||||||||||v{number}^^^NORTH",
    )
    return "\r".join(segments).encode() + b"\r"


BUNDLE = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {"resource": patient(1)},
        {"resource": patient(2)},
        {"resource": {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Doctor"}]}},
        {"resource": {"resourceType": "Nonsense", "id": "n1"}},
    ],
}
MESSAGES = (message(1, control_id="M1"), message(2, control_id="M2"), message(1, control_id=""))
