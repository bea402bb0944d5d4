"""Loads anyone's FHIR bundles from a folder, and says what was taken and what was not, and why.

Files are .json, .json.gz, .ndjson or .ndjson.gz: transaction, batch, collection, searchset or
history Bundles, or single resources. References by fullUrl and conditional references are made
literal across all files; one that points nowhere is kept as it is and counted.
"""

import gzip
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.clinic import open_clinic
from chartgate.demo.hospital.exchange import Refused
from chartgate.demo.hospital.population import Fill
from chartgate.demo.hospital.scenario import Scenario
from chartgate.demo.hospital.validate import ID, check_resource, check_type
from chartgate.errors import ConfigError

SUFFIXES = (".json", ".json.gz", ".ndjson", ".ndjson.gz")
BUNDLE_TYPES = frozenset({"transaction", "batch", "collection", "searchset", "history", "document"})
Resource = dict[str, Any]


@dataclass(kw_only=True)
class LoadReport:
    """What became of the files. `refused` counts reasons; it names types, never content."""

    files: int = 0
    taken: Counter[str] = field(default_factory=Counter)  # by type
    refused: Counter[str] = field(default_factory=Counter)  # by reason
    references_left: int = 0  # that point at nothing which was loaded

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "files": self.files,
            "taken": dict(sorted(self.taken.items())),
            "taken_total": self.taken.total(),
            "refused": dict(sorted(self.refused.items())),
            "refused_total": self.refused.total(),
            "references_left": self.references_left,
        }


def bundle_patients(
    folder: Path, report: LoadReport, *, today: date | None = None, seed: int = 0
) -> Fill:
    """Fills a chart from bundles and opens a clinic around their patients and practitioners."""

    def fill(chart: Chart) -> Scenario:
        load_folder(chart, folder, report)
        day = today or chart.clock().date()
        patients = [r.partition("/")[2] for r in chart.references("Patient")]
        clinicians = [r.partition("/")[2] for r in chart.references("Practitioner")]
        if not patients:
            raise ConfigError(f"{folder} has no Patient that could be loaded: {report.shown()}")
        if not clinicians:
            name = [{"family": "Stand-in"}]
            chart.put("Practitioner/stand-in", {"name": name, "active": True}, method="POST")
            clinicians = ["stand-in"]
        reachable, without = _by_contact(chart, patients)
        return open_clinic(
            chart,
            patients=patients,
            clinicians=clinicians,
            today=day,
            seed=seed,
            booking_patient=reachable or patients[0],
            unreachable_patient=without,
        )

    return fill


def load_folder(chart: Chart, folder: Path, report: LoadReport) -> None:
    """Puts what the folder holds into the chart. Raises ConfigError if there is no such file."""
    files = sorted(f for f in folder.rglob("*") if f.name.endswith(SUFFIXES) and f.is_file())
    if not files:
        raise ConfigError(f"{folder} holds no {', '.join(SUFFIXES)} file")
    entries: list[tuple[str, Resource]] = []
    for file in files:
        report.files += 1
        entries.extend(_entries(file, report))
    accepted, literal = _accepted(chart, entries, report)
    links = Links(literal=literal, known=set(accepted), by_identifier=_identifiers(accepted))
    for reference, resource in accepted.items():
        chart.put(reference, links.linked(resource), method="POST")
        report.taken[reference.partition("/")[0]] += 1
    report.references_left = links.left


@dataclass(kw_only=True)
class Links:
    """Makes references literal; `left` counts those that point at nothing loaded."""

    literal: Mapping[str, str]  # reference by fullUrl
    known: set[str]
    by_identifier: Mapping[tuple[str, str], str]
    left: int = 0

    def linked(self, value: Any) -> Any:
        """A copy with literal references where that is possible."""
        if isinstance(value, list):
            return [self.linked(item) for item in value]
        if not isinstance(value, dict):
            return value
        copy = {name: self.linked(item) for name, item in value.items()}
        target = copy.get("reference")
        return self._reference(copy, target) if isinstance(target, str) else copy

    def _reference(self, reference: Resource, target: str) -> Resource:
        if target.startswith("#") or target in self.known:
            return reference
        found = self.literal.get(target)
        kind, question, criteria = target.partition("?")
        system, bar, value = criteria.removeprefix("identifier=").partition("|")
        if found is None and question:
            found = self.by_identifier.get((kind, f"{system}|{value}"))
        if found is not None:
            return {**reference, "reference": found}
        self.left += 1
        if question and bar:  # a logical reference says as much as we know
            identifier = {"system": system, "value": value}
            without = {k: v for k, v in reference.items() if k != "reference"}
            return {**without, "type": kind, "identifier": identifier}
        return reference


def _entries(file: Path, report: LoadReport) -> Iterator[tuple[str, Resource]]:
    """(fullUrl, resource) of a file; what is no FHIR is counted as refused."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        lines = content.splitlines() if ".ndjson" in file.name else [content]
        documents = [orjson.loads(line) for line in lines if line.strip()]
    except (OSError, EOFError, gzip.BadGzipFile, orjson.JSONDecodeError):
        report.refused["a file is no JSON"] += 1
        return
    for document in documents:
        if not isinstance(document, dict) or "resourceType" not in document:
            report.refused["a document is no FHIR resource"] += 1
        elif document["resourceType"] != "Bundle":
            yield "", document
        elif document.get("type") not in BUNDLE_TYPES:
            report.refused["a Bundle is of another type"] += 1
        else:
            for entry in document.get("entry", ()):
                if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
                    yield str(entry.get("fullUrl", "")), entry["resource"]


def _accepted(
    chart: Chart, entries: Iterable[tuple[str, Resource]], report: LoadReport
) -> tuple[dict[str, Resource], dict[str, str]]:
    """Resources by reference, and references by fullUrl."""
    accepted: dict[str, Resource] = {}
    literal: dict[str, str] = {}
    for full_url, resource in entries:
        kind, given = str(resource.get("resourceType")), str(resource.get("id", ""))
        try:
            check_type(kind)
            check_resource(resource, kind)
        except Refused as refused:
            report.refused[f"{kind[:60]}: {refused.text}"] += 1
            continue
        reference = f"{kind}/{given if ID.fullmatch(given) else chart.new_id()}"
        for url in (full_url, f"urn:uuid:{given}"):
            if url:
                literal.setdefault(url, reference)
        if reference in accepted:
            report.refused[f"{kind}: this id has been loaded already"] += 1
            continue
        accepted[reference] = resource
    return accepted, literal


def _identifiers(accepted: Mapping[str, Resource]) -> dict[tuple[str, str], str]:
    """References by (type, "system|value")."""
    found: dict[tuple[str, str], str] = {}
    for reference, resource in accepted.items():
        identifiers = resource.get("identifier")
        for identifier in identifiers if isinstance(identifiers, list) else ():
            key = f"{identifier.get('system', '')}|{identifier.get('value', '')}"
            found.setdefault((reference.partition("/")[0], key), reference)
    return found


def _by_contact(chart: Chart, patients: Iterable[str]) -> tuple[str, str]:
    """The first patient whom a clinic can call and tell apart, and the first whom it cannot."""
    reachable = without = ""
    for patient in patients:
        content = chart.current[f"Patient/{patient}"].resource or {}
        if content.get("telecom") and content.get("birthDate"):
            reachable = reachable or patient
        else:
            without = without or patient
    return reachable, without
