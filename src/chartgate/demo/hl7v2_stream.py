"""A day of HL7 v2 messages from the sample hospital, and messages from anyone's files."""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from chartgate.demo.hl7v2_render import Envelope, render_adt, render_oru, render_siu
from chartgate.demo.hospital.chart import Chart
from chartgate.errors import ConfigError

# Roughly what an outpatient feed carries: mostly updates and results, few merges.
MIX = [
    "A04",
    "A08",
    "R01",
    "S12",
    "A08",
    "R01",
    "A01",
    "S14",
    "A08",
    "R01",
    "A03",
    "R01",
    "S15",
    "A08",
    "S12",
    "R01",
]
MERGE_EVERY = 500
CONTROL_ID = 9  # index of MSH-10 among the parts of the header, as MSH-1 is the separator
BATCH_SEGMENTS = (b"BHS", b"BTS", b"FHS", b"FTS")
SUFFIXES = (".jsonl", ".ndjson", ".hl7", ".txt")
Resource = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Material:
    """What messages are written about: each patient with visits, appointments, observations."""

    patients: tuple[Resource, ...]
    encounters: Mapping[str, tuple[Resource, ...]]  # by patient reference
    appointments: Mapping[str, tuple[Resource, ...]]
    observations: Mapping[str, tuple[Resource, ...]]


def material_of(chart: Chart) -> Material:
    """What a chart has to write about."""
    return Material(
        patients=tuple(_contents(chart, "Patient")),
        encounters=_by_patient(chart, "Encounter"),
        appointments=_by_patient(chart, "Appointment"),
        observations=_by_patient(chart, "Observation"),
    )


def stream(
    material: Material, *, count: int, at: datetime, seed: int = 0, prefix: str = ""
) -> Iterator[bytes]:
    """`count` messages; control ids are prefix, seed and number. Same arguments, same bytes."""
    dice = random.Random(seed)
    for number, trigger in zip(range(1, count + 1), itertools.cycle(MIX), strict=False):
        envelope = Envelope(
            control_id=f"{prefix}{seed:03}-{number:07}", at=at + timedelta(seconds=number // 10)
        )
        patient = dice.choice(material.patients)
        reference = f"Patient/{patient['id']}"
        if number % MERGE_EVERY == 0:
            old = f"OLD{number}"
            yield render_adt("A40", patient, envelope=envelope, merged=old)
        elif trigger in ("S12", "S14", "S15") and reference in material.appointments:
            appointment = dice.choice(material.appointments[reference])
            yield render_siu(trigger, appointment, patient, envelope=envelope)
        elif trigger == "R01" and reference in material.observations:
            yield render_oru(patient, list(material.observations[reference][:3]), envelope=envelope)
        else:
            visits = material.encounters.get(reference)
            encounter = dice.choice(visits) if visits else None
            kind = trigger if trigger in ("A01", "A03", "A04") and encounter else "A08"
            yield render_adt(kind, patient, envelope=envelope, encounter=encounter)


def messages_of(path: Path) -> list[bytes]:
    """Messages of a file or of all files below a folder. Raises ConfigError if there are none.

    .jsonl and .ndjson: one JSON object a line with a text in `message`; .hl7 and .txt: one message
    or several, each from MSH on, MLLP framing taken off. Line ends become CR.
    """
    if not path.exists():
        raise ConfigError(f"there is no {path}")
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    found: list[bytes] = []
    for file in files:
        if file.suffix in (".jsonl", ".ndjson"):
            found.extend(_of_lines(file))
        elif file.suffix in SUFFIXES or path.is_file():
            found.extend(_split(file.read_bytes()))
    if not found:
        raise ConfigError(f"{path} holds no HL7 v2 message ({', '.join(SUFFIXES)})")
    return found


def renumbered(messages: Iterable[bytes]) -> list[bytes]:
    """The messages with a control id of their own each, where they have one at all: collections
    of samples often give many messages the same."""
    found = []
    for number, message in enumerate(messages, start=1):
        header, cr, rest = message.partition(b"\r")
        fields = header.split(header[3:4]) if header.startswith(b"MSH") else []
        if len(fields) > CONTROL_ID and fields[CONTROL_ID].strip():
            fields[CONTROL_ID] = f"S{number:06d}".encode()
            header = header[3:4].join(fields)
        found.append(header + cr + rest)
    return found


def _of_lines(file: Path) -> Iterator[bytes]:
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            message = orjson.loads(line)["message"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise ConfigError(f"{file}:{number} is no JSON object with a message") from None
        yield _with_cr(str(message).encode())


def _split(content: bytes) -> Iterator[bytes]:
    """Each message of a file; what stands before the first MSH (a batch header) is left out."""
    plain = _with_cr(content.replace(b"\x0b", b"").replace(b"\x1c", b"").lstrip(b"\xef\xbb\xbf"))
    message: list[bytes] = []
    for segment in plain.split(b"\r"):
        if segment.startswith(b"MSH") and message:
            yield b"\r".join(message) + b"\r"
            message = []
        belongs = segment.startswith(b"MSH") or (message and segment.strip())
        if belongs and not segment.startswith(BATCH_SEGMENTS):
            message.append(segment)
    if message:
        yield b"\r".join(message) + b"\r"


def _with_cr(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\r").replace(b"\n", b"\r")


def _contents(chart: Chart, resource_type: str) -> Iterator[Resource]:
    for reference in chart.references(resource_type):
        resource = chart.current[reference].resource
        if resource is not None:
            yield resource


def _by_patient(chart: Chart, resource_type: str) -> dict[str, tuple[Resource, ...]]:
    found: dict[str, list[Resource]] = {}
    for resource in _contents(chart, resource_type):
        actors = [p.get("actor") or {} for p in resource.get("participant", ())]
        for link in (resource.get("subject") or {}, *actors):
            reference = link.get("reference", "")
            if reference.startswith("Patient/"):
                found.setdefault(reference, []).append(resource)
    return {reference: tuple(resources) for reference, resources in found.items()}
