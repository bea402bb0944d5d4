"""A day of messages, and messages from files."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chartgate.clock import utc_now
from chartgate.demo.hl7v2_stream import Material, material_of, messages_of, renumbered, stream
from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.population import sample_patients
from chartgate.errors import ConfigError
from chartgate.formats.hl7v2 import parse

CORPORA = Path(__file__).parents[3] / "shared" / "corpora" / "hl7v2"
AT = datetime(2026, 3, 4, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def material() -> Material:
    chart = Chart(clock=utc_now)
    sample_patients(today=AT.date())(chart)
    return material_of(chart)


def test_a_stream_has_every_trigger_and_its_own_control_ids(material: Material) -> None:
    messages = [parse(raw) for raw in stream(material, count=600, at=AT)]
    triggers = Counter(message.value("MSH", 9, 2) for message in messages)
    assert set(triggers) == {"A01", "A03", "A04", "A08", "A40", "S12", "S14", "S15", "R01"}
    assert len({message.value("MSH", 10) for message in messages}) == 600


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(material: Material) -> None:
    first, again, other = (list(stream(material, count=50, at=AT, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert not set(first) & set(other)


def test_files_of_any_kind_are_split_into_messages(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"message": "MSH|1\nPID|1\n"}) + "\n\n")
    (tmp_path / "b.hl7").write_bytes(b"FHS|x\r\nBHS|x\r\nMSH|2\r\nPID|2\r\n\r\nMSH|3\r\nBTS|2\r\n")
    (tmp_path / "c.txt").write_bytes(b"\x0bMSH|4\rPID|4\r\x1c\r")
    (tmp_path / "notes.md").write_text("MSH|5")
    assert messages_of(tmp_path) == [
        b"MSH|1\rPID|1\r",
        b"MSH|2\rPID|2\r",
        b"MSH|3\r",
        b"MSH|4\rPID|4\r",
    ]


def test_files_without_messages_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no HL7"):
        messages_of(tmp_path)
    with pytest.raises(ConfigError, match="there is no"):
        messages_of(tmp_path / "none")
    (tmp_path / "a.jsonl").write_text('{"text": 1}')
    with pytest.raises(ConfigError, match=r"a\.jsonl:1"):
        messages_of(tmp_path / "a.jsonl")


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the HL7 v2 corpora are not beside the checkout")
def test_corpora_are_read_whole() -> None:
    assert len(messages_of(CORPORA / "linuxforhealth" / "messages.jsonl")) == 396
    assert len(messages_of(CORPORA / "ms-fhir-converter")) >= 68


def test_renumbered_gives_each_message_its_own_control_id_and_leaves_none_alone() -> None:
    same = [b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rPID|1\r"] * 2
    without = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01||P|2.5\rPID|1\r"
    first, second, third = renumbered([*same, without])
    assert first == same[0].replace(b"|1|P", b"|S000001|P")
    assert second == same[0].replace(b"|1|P", b"|S000002|P")
    assert third == without
